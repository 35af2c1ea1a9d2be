#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "base/descriptor.h"
#include "base/disk_full.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

std::string NameOf(const std::filesystem::path& path) {
  std::string name = path.filename().string();
  return name.empty() ? path.parent_path().filename().string() : name;
}

absl::Status ErrnoStatus(int code, std::string_view action, std::string_view name) {
  const std::string file(name);
  const std::string message = std::string(action) + " \"" + file + "\": " + std::strerror(code);
  const Metadata metadata = {{"file", file}};
  if (MeansDiskFull(code)) return Error(Reason::kDiskFull, message, metadata);
  switch (code) {
    case ENOENT:
    case ENOTDIR:
      return Error(Reason::kFileNotFound, message, metadata);
    default:
      return Error(Reason::kStorageIoError, message, metadata);
  }
}

absl::StatusOr<int64_t> SizeOfRegularFile(int fd, const std::string& name) {
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "reading the size of", name);
  if (!S_ISREG(info.st_mode)) {
    return Error(Reason::kInvalidArgument, "\"" + name + "\" is not a regular file",
                 {{"file", name}});
  }
  return static_cast<int64_t>(info.st_size);
}

int OpenForReading(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a FIFO would block; it is then refused because it is not a regular file.
  return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

absl::Status WriteAll(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "writing", name);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SyncPath(const std::filesystem::path& path, int flags) {
  const Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  if (fd.get() < 0) return ErrnoStatus(errno, "opening", NameOf(path));
  if (fsync(fd.get()) != 0) return ErrnoStatus(errno, "syncing", NameOf(path));
  return absl::OkStatus();
}

// Unique on this machine: two writers of one path never share a temporary file.
std::filesystem::path AsidePath(const std::filesystem::path& path) {
  static std::atomic<uint64_t> counter{0};
  return path.parent_path() / ("." + path.filename().string() + "." + std::to_string(getpid()) +
                               "." + std::to_string(counter.fetch_add(1)) + ".tmp");
}

absl::Status WriteAside(const std::filesystem::path& aside, std::string_view content) {
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<FileWriter> writer, FileWriter::Create(aside));
  LFM2_RETURN_IF_ERROR(writer->Append(content));
  return writer->Close();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MappedFile>> MappedFile::Open(
    const std::filesystem::path& path) {
  const std::string name = NameOf(path);
  const Descriptor fd(OpenForReading(path));
  if (fd.get() < 0) return ErrnoStatus(errno, "opening", name);
  LFM2_ASSIGN_OR_RETURN(const int64_t size, SizeOfRegularFile(fd.get(), name));
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile(nullptr, 0));
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return ErrnoStatus(errno, "mapping", name);
  return std::shared_ptr<const MappedFile>(
      new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), static_cast<size_t>(size_));
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, int64_t max_bytes) {
  const std::string name = NameOf(path);
  const Descriptor fd(OpenForReading(path));
  if (fd.get() < 0) return ErrnoStatus(errno, "opening", name);
  LFM2_ASSIGN_OR_RETURN(const int64_t size, SizeOfRegularFile(fd.get(), name));
  if (size > max_bytes) {
    return Error(Reason::kInvalidArgument,
                 "\"" + name + "\" has " + std::to_string(size) + " bytes, over the limit of " +
                     std::to_string(max_bytes),
                 {{"file", name}});
  }
  std::string content(static_cast<size_t>(size), '\0');
  size_t filled = 0;
  while (filled < content.size()) {
    const ssize_t got = read(fd.get(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "reading", name);
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  content.resize(filled);
  return content;
}

absl::Status WriteFileDurably(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path aside = AsidePath(path);
  absl::Status status = WriteAside(aside, content);
  if (status.ok() && rename(aside.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, "renaming to", NameOf(path));
  }
  if (!status.ok()) {
    unlink(aside.c_str());
    return status;
  }
  return SyncDirectory(path.has_parent_path() ? path.parent_path() : ".");
}

absl::Status SyncDirectory(const std::filesystem::path& directory) {
  return SyncPath(directory, O_DIRECTORY);
}

absl::StatusOr<std::unique_ptr<FileWriter>> FileWriter::Create(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "creating", NameOf(path));
  return std::unique_ptr<FileWriter>(new FileWriter(fd, NameOf(path)));
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) close(fd_);
}

absl::Status FileWriter::Append(std::string_view bytes) {
  if (fd_ < 0) return Error(Reason::kInternal, "\"" + name_ + "\" is closed already");
  return WriteAll(fd_, bytes, name_);
}

absl::Status FileWriter::Close() {
  if (fd_ < 0) return Error(Reason::kInternal, "\"" + name_ + "\" is closed already");
  const int fd = std::exchange(fd_, -1);
  const int sync_error = fsync(fd) == 0 ? 0 : errno;
  const int close_error = close(fd) == 0 ? 0 : errno;
  if (sync_error != 0) return ErrnoStatus(sync_error, "syncing", name_);
  if (close_error != 0) return ErrnoStatus(close_error, "closing", name_);
  return absl::OkStatus();
}

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path, const StopCheck& stop) {
  const std::string name = NameOf(path);
  const Descriptor fd(OpenForReading(path));
  if (fd.get() < 0) return ErrnoStatus(errno, "opening", name);
  LFM2_RETURN_IF_ERROR(SizeOfRegularFile(fd.get(), name).status());
  Sha256 hash;
  std::string buffer(1 << 20, '\0');
  while (true) {
    LFM2_RETURN_IF_ERROR(CheckStop(stop));
    const ssize_t got = read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "reading", name);
    if (got == 0) return hash.Hex();
    hash.Update(std::string_view(buffer.data(), static_cast<size_t>(got)));
  }
}

absl::Status CheckPlainName(std::string_view what, std::string_view name, int64_t max_bytes) {
  const std::string subject = std::string(what) + " \"" + std::string(name.substr(0, 64)) + "\"";
  if (name.empty()) return Error(Reason::kPathOutsideRoot, std::string(what) + " is empty");
  if (static_cast<int64_t>(name.size()) > max_bytes) {
    return Error(Reason::kPathOutsideRoot, subject + " has " + std::to_string(name.size()) +
                                               " bytes, over the limit of " +
                                               std::to_string(max_bytes));
  }
  if (name.front() == '.' || name.front() == '-') {
    return Error(Reason::kPathOutsideRoot, subject + " starts with '.' or '-'");
  }
  for (char c : name) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (!plain) {
      return Error(Reason::kPathOutsideRoot, subject + " has a character outside [A-Za-z0-9._-]");
    }
  }
  return absl::OkStatus();
}

}  // namespace lfm2
