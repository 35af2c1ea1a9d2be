#include "server/store/disk.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "base/disk_full.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

bool IsLeftover(std::string_view name) { return name.starts_with('.') && name.ends_with(".tmp"); }

}  // namespace

absl::Status DiskStatus(std::error_code error, std::string_view action,
                        const std::filesystem::path& path) {
  if (!error) return absl::OkStatus();
  const std::string name = path.filename().string();
  const std::string message = std::string(action) + " \"" + name + "\": " + error.message();
  const Metadata metadata = {{"file", name}};
  if (MeansDiskFull(error)) return Error(Reason::kDiskFull, message, metadata);
  if (error == std::errc::no_such_file_or_directory) {
    return Error(Reason::kFileNotFound, message, metadata);
  }
  return Error(Reason::kStorageIoError, message, metadata);
}

absl::Status MakeDirectory(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::create_directories(path, error)) {
    return DiskStatus(error, "creating the directory", path);
  }
  return SyncDirectory(path.parent_path());
}

absl::Status PublishDirectory(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::rename(from, to, error);
  LFM2_RETURN_IF_ERROR(DiskStatus(error, "publishing", to));
  return SyncDirectory(to.parent_path());
}

absl::StatusOr<std::vector<std::string>> EntriesOf(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entry(directory, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  LFM2_RETURN_IF_ERROR(DiskStatus(error, "listing", directory));
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status RemoveLeftovers(const std::filesystem::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> names, EntriesOf(directory));
  for (const std::string& name : names) {
    if (!IsLeftover(name)) continue;
    std::error_code error;
    std::filesystem::remove_all(directory / name, error);
    LFM2_RETURN_IF_ERROR(DiskStatus(error, "removing", directory / name));
  }
  return absl::OkStatus();
}

std::filesystem::path AsidePathIn(const std::filesystem::path& directory) {
  static std::atomic<uint64_t> counter{0};
  return directory / (".aside-" + std::to_string(getpid()) + "-" +
                      std::to_string(counter.fetch_add(1)) + ".tmp");
}

}  // namespace lfm2
