// Which errno values mean that a file cannot grow: the disk or the quota is full, or the file size
// limit is reached. Thread rule: pure.
#pragma once

#include <cerrno>
#include <system_error>

namespace lfm2 {

inline bool MeansDiskFull(int code) { return code == ENOSPC || code == EDQUOT || code == EFBIG; }

inline bool MeansDiskFull(const std::error_code& error) {
  return error.category() == std::system_category() || error.category() == std::generic_category()
             ? MeansDiskFull(error.value())
             : false;
}

}  // namespace lfm2
