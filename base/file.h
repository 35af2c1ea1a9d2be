// Files: memory-mapped reading, durable writing, SHA-256. Messages name only the last component of
// a path.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/sha256.h"
#include "base/stop_check.h"

namespace lfm2 {

// A regular file mapped read-only for the object's life.
class MappedFile {
 public:
  static absl::StatusOr<std::shared_ptr<const MappedFile>> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(data_), static_cast<size_t>(size_)};
  }

 private:
  MappedFile(const std::byte* data, int64_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  int64_t size_;
};

// The whole of a small file. kInvalidArgument when it is larger than max_bytes.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, int64_t max_bytes);

// Writes a temporary file, fsyncs it, renames it and fsyncs the directory: after a crash the file
// is the old one or the whole new one. kDiskFull, kStorageIoError.
absl::Status WriteFileDurably(const std::filesystem::path& path, std::string_view content);
absl::Status SyncDirectory(const std::filesystem::path& directory);

// Writes a file from start to end. Errno values become our reasons; Close() fsyncs.
class FileWriter {
 public:
  static absl::StatusOr<std::unique_ptr<FileWriter>> Create(const std::filesystem::path& path);
  ~FileWriter();
  absl::Status Append(std::string_view bytes);
  absl::Status Close();  // flush, fsync, close
 private:
  explicit FileWriter(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  int fd_;
  std::string name_;
};

// Calls `stop` after every MiB.
absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path,
                                         const StopCheck& stop = {});

// A plain name: 1 to limit bytes of [A-Za-z0-9._-], not starting with '.' or '-'. kPathOutsideRoot
// otherwise.
absl::Status CheckPlainName(std::string_view what, std::string_view name, int64_t max_bytes);

}  // namespace lfm2
