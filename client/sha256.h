// SHA-256 of bytes and files, as lower-case hexadecimal. Thread rule: one thread per object.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

class Sha256 {
 public:
  Sha256();
  void Add(std::string_view bytes);
  std::string Finish();  // once; Add must not follow

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string Sha256Of(std::string_view bytes);

struct FileDigest {
  std::string sha256;
  int64_t bytes = 0;
};

// kFileNotFound when it cannot be opened or is no regular file, kStorageIoError when it cannot be
// read.
absl::StatusOr<FileDigest> DigestFile(const std::filesystem::path& path);

}  // namespace lfm2
