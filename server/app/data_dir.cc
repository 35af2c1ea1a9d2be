#include "server/app/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/errors.h"

namespace lfm2 {

absl::StatusOr<std::unique_ptr<DataDirLock>> DataDirLock::Acquire(
    const std::filesystem::path& data_dir) {
  std::error_code error;
  std::filesystem::create_directories(data_dir, error);
  const std::filesystem::path path = data_dir / "lock";
  const int fd = error ? -1 : open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) {
    const std::string cause = error ? error.message() : std::strerror(errno);
    return Error(Reason::kConfigInvalid,
                 "data_dir \"" + data_dir.string() + "\" cannot be used: " + cause);
  }
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    char holder[32] = {};
    const ssize_t length = pread(fd, holder, sizeof(holder) - 1, 0);
    close(fd);
    return Error(Reason::kWrongState,
                 "data_dir \"" + data_dir.string() + "\" is in use by process " +
                     (length > 0 ? std::string(holder) : std::string("unknown")));
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0) {
    close(fd);
    return Error(Reason::kDiskFull, "the lock file of data_dir cannot be written");
  }
  return std::unique_ptr<DataDirLock>(new DataDirLock(fd));
}

DataDirLock::~DataDirLock() { close(fd_); }

}  // namespace lfm2
