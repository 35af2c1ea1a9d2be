#include "client/calls/export_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/disk_full.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "client/calls/client.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

absl::Status DiskError(const std::string& what, int error) {
  const std::string message = what + ": " + strerror(error);
  if (MeansDiskFull(error)) return Error(Reason::kDiskFull, message);
  switch (error) {
    case ENOENT:
      return Error(Reason::kFileNotFound, message);
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EEXIST:
    case EISDIR:
      return Error(Reason::kInvalidArgument, message);
    default:
      return Error(Reason::kStorageIoError, message);
  }
}

absl::Status SyncFolder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return DiskError("cannot open " + folder.string(), errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : DiskError("cannot sync " + folder.string(), error);
}

absl::Status Rename(const fs::path& from, const fs::path& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
  return DiskError("cannot rename to " + to.string(), errno);
}

// "out/" and "out" are the same folder; a path without a folder is in the working directory.
fs::path Clean(const fs::path& path) {
  fs::path clean = fs::absolute(path).lexically_normal();
  return clean.has_filename() ? clean : clean.parent_path();
}

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

std::string ExportWriter::NewSuffix() { return "." + RandomId().substr(0, 12) + ".part"; }

fs::path ExportWriter::TemporaryOf(const fs::path& path) const {
  const fs::path clean = Clean(path);
  return clean.parent_path() / ("." + clean.filename().string() + suffix_);
}

ExportWriter::~ExportWriter() {
  if (fd_ >= 0) close(fd_);
  if (committed_) return;
  std::error_code ignored;
  if (!target_.folder.empty()) fs::remove_all(TemporaryOf(target_.folder), ignored);
  for (const WrittenFile& file : files_) {
    if (!file.path.empty()) fs::remove(TemporaryOf(file.path), ignored);
  }
  for (auto it = made_.rbegin(); it != made_.rend(); ++it) fs::remove(*it, ignored);
}

absl::Status ExportWriter::MakeFolder(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return absl::OkStatus();
  if (folder.has_relative_path()) LFM2_RETURN_IF_ERROR(MakeFolder(folder.parent_path()));
  if (mkdir(folder.c_str(), 0777) != 0) return DiskError("cannot make " + folder.string(), errno);
  made_.push_back(folder);
  return SyncFolder(folder.parent_path());
}

absl::Status ExportWriter::Prepare() {
  std::error_code error;
  for (const fs::path& path : {target_.folder, target_.npz, target_.meta}) {
    if (path.empty()) continue;
    const fs::path parent = Clean(path).parent_path();
    LFM2_RETURN_IF_ERROR(MakeFolder(parent));
    if (access(parent.c_str(), W_OK) != 0)
      return DiskError("cannot write in " + parent.string(), errno);
  }
  for (const fs::path& path : {target_.npz, target_.meta}) {
    if (!path.empty() && fs::is_directory(path, error)) {
      return Error(Reason::kInvalidArgument, path.string() + " is a folder, a file is needed");
    }
  }
  if (!target_.meta.empty() && Clean(target_.meta) == Clean(target_.npz)) {
    return Error(Reason::kInvalidArgument, "--out and --meta are the same file");
  }
  if (!target_.folder.empty() && fs::exists(target_.folder, error) &&
      (!fs::is_directory(target_.folder, error) || !fs::is_empty(target_.folder, error))) {
    return Error(Reason::kWrongState,
                 target_.folder.string() + " exists and is not an empty folder");
  }
  return absl::OkStatus();
}

absl::Status ExportWriter::OnFile(const v1::ExportedFile& file) {
  LFM2_RETURN_IF_ERROR(CloseCurrent());
  if (!IsPlainName(file.name())) {
    return Error(Reason::kExportMismatch,
                 "the server named a file \"" + file.name() + "\", which is not a plain name");
  }
  announced_.push_back(file);
  WrittenFile written;
  written.name = file.name();
  fs::path temporary;
  if (!target_.folder.empty()) {
    const fs::path folder = TemporaryOf(target_.folder);
    std::error_code error;
    fs::create_directory(folder, error);
    if (error) return DiskError("cannot make " + folder.string(), error.value());
    written.path = Clean(target_.folder) / file.name();
    temporary = folder / file.name();
  } else {
    const std::string extension = fs::path(file.name()).extension().string();
    written.path = extension == ".npz"    ? target_.npz
                   : extension == ".json" ? target_.meta
                                          : fs::path();
    const bool taken = std::any_of(files_.begin(), files_.end(), [&](const WrittenFile& other) {
      return !other.path.empty() && other.path == written.path;
    });
    if (taken) written.path.clear();
    if (!written.path.empty()) temporary = TemporaryOf(written.path);
  }
  files_.push_back(written);
  hash_.emplace();
  if (temporary.empty()) return absl::OkStatus();
  fd_ = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  return fd_ >= 0 ? absl::OkStatus() : DiskError("cannot make " + temporary.string(), errno);
}

absl::Status ExportWriter::OnChunk(const std::string& bytes) {
  if (!hash_)
    return Error(Reason::kExportMismatch, "the server sent bytes before their file's name");
  hash_->Update(bytes);
  files_.back().bytes += static_cast<int64_t>(bytes.size());
  size_t done = 0;
  while (fd_ >= 0 && done < bytes.size()) {
    const ssize_t count = write(fd_, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return DiskError("cannot write " + files_.back().path.string(), errno);
    done += static_cast<size_t>(count);
  }
  return absl::OkStatus();
}

absl::Status ExportWriter::CloseCurrent() {
  if (!hash_) return absl::OkStatus();
  files_.back().sha256 = hash_->Hex();
  hash_.reset();
  if (fd_ < 0) return absl::OkStatus();
  const bool synced = fsync(fd_) == 0;
  const int error = errno;
  const bool closed = close(fd_) == 0;
  fd_ = -1;
  return synced && closed
             ? absl::OkStatus()
             : DiskError("cannot sync " + files_.back().path.string(), synced ? errno : error);
}

absl::Status ExportWriter::OnDone(const v1::ExportDone& done) {
  LFM2_RETURN_IF_ERROR(CloseCurrent());
  if (static_cast<size_t>(done.files_size()) != files_.size()) {
    return Error(Reason::kExportMismatch, "the server lists " + std::to_string(done.files_size()) +
                                              " files, " + std::to_string(files_.size()) +
                                              " arrived");
  }
  std::vector<v1::ExportedFile> expected(done.files().begin(), done.files().end());
  expected.insert(expected.end(), announced_.begin(), announced_.end());
  for (const v1::ExportedFile& file : expected) {
    const auto it = std::find_if(files_.begin(), files_.end(), [&](const WrittenFile& written) {
      return written.name == file.name();
    });
    if (it == files_.end())
      return Error(Reason::kExportMismatch, "file " + file.name() + " was not sent");
    const bool listed = &file < expected.data() + done.files_size();
    const bool same_hash = it->sha256 == file.sha256() || (!listed && file.sha256().empty());
    const bool same_size = it->bytes == file.bytes() || (!listed && file.sha256().empty());
    if (!same_hash || !same_size) {
      return Error(Reason::kExportMismatch,
                   file.name() + " arrived with " + std::to_string(it->bytes) + " bytes, sha256 " +
                       it->sha256 + "; the server has " + std::to_string(file.bytes()) + ", " +
                       file.sha256(),
                   {{"file", file.name()}, {"expected", file.sha256()}, {"actual", it->sha256}});
    }
  }
  return Commit();
}

absl::Status ExportWriter::Commit() {
  if (!target_.folder.empty()) {
    const fs::path temporary = TemporaryOf(target_.folder), folder = Clean(target_.folder);
    LFM2_RETURN_IF_ERROR(SyncFolder(temporary));
    LFM2_RETURN_IF_ERROR(Rename(temporary, folder));
    committed_ = true;
    return SyncFolder(folder.parent_path());
  }
  const bool has_npz = std::any_of(files_.begin(), files_.end(), [&](const WrittenFile& file) {
    return file.path == target_.npz;
  });
  if (!has_npz) return Error(Reason::kExportMismatch, "the server sent no .npz file");
  for (const WrittenFile& file : files_) {
    if (file.path.empty()) continue;
    LFM2_RETURN_IF_ERROR(Rename(TemporaryOf(file.path), Clean(file.path)));
    LFM2_RETURN_IF_ERROR(SyncFolder(Clean(file.path).parent_path()));
  }
  committed_ = true;
  return absl::OkStatus();
}

}  // namespace lfm2
