#include "server/rpc/transport/private_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/descriptor.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr size_t kMaxBytes = 1 << 20;

absl::Status Invalid(std::string_view option, const std::string& path, std::string_view what) {
  return Error(Reason::kConfigInvalid,
               std::string(option) + " \"" + path + "\" " + std::string(what));
}

// systemd makes a credential readable only by the service's user. From version 254 on the file has
// mode 0440 and an access list: the group bits then show the list's mask.
mode_t ForbiddenBits(const std::string& path) {
  const char* folder = std::getenv("CREDENTIALS_DIRECTORY");
  if (folder == nullptr || *folder == '\0') return 077;
  const std::filesystem::path parent = std::filesystem::path(path).lexically_normal().parent_path();
  return parent == (std::filesystem::path(folder) / "file").lexically_normal().parent_path() ? 037
                                                                                             : 077;
}

}  // namespace

absl::StatusOr<std::string> ReadConfiguredFile(std::string_view option, const std::string& path,
                                               FilePrivacy privacy) {
  // The file is opened once and checked through the descriptor, so the checked file is the one
  // read.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    return Invalid(option, path, absl::StrCat("cannot be read: ", std::strerror(errno)));
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return Invalid(option, path, "is not a regular file");
  }
  if (privacy == FilePrivacy::kOwnerOnly && (info.st_mode & ForbiddenBits(path)) != 0) {
    return Invalid(option, path,
                   absl::StrFormat("has mode %04o; it holds secrets and must be 0600",
                                   static_cast<unsigned>(info.st_mode & 07777)));
  }
  std::string content;
  char block[16'384];
  ssize_t n = 0;
  while ((n = read(file.get(), block, sizeof block)) > 0) {
    content.append(block, static_cast<size_t>(n));
    if (content.size() > kMaxBytes) return Invalid(option, path, "has more than 1 MiB");
  }
  if (n < 0) return Invalid(option, path, absl::StrCat("cannot be read: ", std::strerror(errno)));
  return content;
}

}  // namespace lfm2
