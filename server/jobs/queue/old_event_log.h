// The file that held a job's events before the job store did: frames of little-endian u32 length,
// u32 CRC-32 of the payload, and the payload. The n-th frame is event n; a torn tail, or a damaged
// frame and everything after it, is ignored. Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace lfm2 {

class OldEventLog {
 public:
  // An absent or empty file has no events. kStorageIoError.
  static absl::StatusOr<OldEventLog> Open(const std::filesystem::path& path);

  // The next payload, which is valid as long as the log; nullopt: there are no more.
  std::optional<std::string_view> Next();

 private:
  std::shared_ptr<const MappedFile> file_;  // null: nothing to read
  size_t offset_ = 0;
};

}  // namespace lfm2
