// One daemon a data_dir: a lock file that holds the owner's process id. Thread rule: plain object.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"

namespace lfm2 {

class DataDirLock {
 public:
  // Makes the folder when needed. kWrongState naming the process that holds it.
  static absl::StatusOr<std::unique_ptr<DataDirLock>> Acquire(
      const std::filesystem::path& data_dir);
  ~DataDirLock();

 private:
  explicit DataDirLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lfm2
