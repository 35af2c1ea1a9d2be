// Size and SHA-256 of a file that is to be sent. Thread rule: pure function.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"

namespace lfm2 {

struct FileDigest {
  std::string sha256;
  int64_t bytes = 0;
};

// kFileNotFound when it cannot be opened or is no regular file, kStorageIoError when it cannot be
// read.
absl::StatusOr<FileDigest> DigestFile(const std::filesystem::path& path);

}  // namespace lfm2
