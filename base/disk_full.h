// One answer to which errors of the system mean that a file cannot grow: the disk is full, or the
// quota, or the limit of a file's size. Thread rule: pure.
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
