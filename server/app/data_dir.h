// Ensures one daemon per data_dir with a lock file that holds its process id. Thread rule: plain
// object.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"

namespace lfm2 {

class DataDirLock {
 public:
  // Creates the folder if needed. kWrongState, naming the process that has the lock.
  static absl::StatusOr<std::unique_ptr<DataDirLock>> Acquire(
      const std::filesystem::path& data_dir);
  ~DataDirLock();

 private:
  explicit DataDirLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lfm2
