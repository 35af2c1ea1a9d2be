#include "client/calls/sha256.h"

#include <fstream>
#include <vector>

#include "base/errors.h"
#include "base/sha256.h"

namespace lfm2 {

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
    hash.Update({buffer.data(), count});
    digest.bytes += static_cast<int64_t>(count);
  }
  if (file.bad()) return Error(Reason::kStorageIoError, path.string() + " cannot be read");
  digest.sha256 = hash.Hex();
  return digest;
}

}  // namespace lfm2
