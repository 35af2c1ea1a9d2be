#include "client/sha256.h"

#include <fstream>
#include <vector>

#include "model/core/errors.h"

namespace lfm2 {

Sha256::Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
  EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
}

void Sha256::Add(std::string_view bytes) {
  EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
}

std::string Sha256::Finish() {
  static constexpr char kDigits[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_DigestFinal_ex(context_.get(), digest, &length);
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string Sha256Of(std::string_view bytes) {
  Sha256 hash;
  hash.Add(bytes);
  return hash.Finish();
}

absl::StatusOr<FileDigest> DigestFile(const std::filesystem::path& path) {
  std::error_code error;
  std::ifstream file(path, std::ios::binary);
  if (!std::filesystem::is_regular_file(path, error) || !file) {
    return Error(Reason::kFileNotFound, path.string() + " cannot be opened or is no regular file");
  }
  Sha256 hash;
  FileDigest digest;
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) ||
         file.gcount() > 0) {
    const size_t count = static_cast<size_t>(file.gcount());
    hash.Add({buffer.data(), count});
    digest.bytes += static_cast<int64_t>(count);
  }
  if (file.bad()) return Error(Reason::kStorageIoError, path.string() + " cannot be read");
  digest.sha256 = hash.Finish();
  return digest;
}

}  // namespace lfm2
