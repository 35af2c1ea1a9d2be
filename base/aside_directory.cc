#include "base/aside_directory.h"

#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/disk_full.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr char kPrefix[] = ".tmp-";

absl::Status DirectoryError(const char* action, const std::filesystem::path& path,
                            const std::error_code& error) {
  const Reason reason = MeansDiskFull(error) ? Reason::kDiskFull
                        : error == std::errc::file_exists || error == std::errc::directory_not_empty
                            ? Reason::kModelExists
                            : Reason::kStorageIoError;
  return Error(reason,
               absl::StrCat(action, " \"", path.filename().string(), "\": ", error.message()));
}

}  // namespace

AsideDirectory::AsideDirectory(std::filesystem::path destination)
    : destination_(std::move(destination)),
      aside_(destination_.parent_path() / (kPrefix + destination_.filename().string())) {}

AsideDirectory::AsideDirectory(AsideDirectory&& other) noexcept
    : destination_(std::move(other.destination_)),
      aside_(std::move(other.aside_)),
      live_(std::exchange(other.live_, false)) {}

AsideDirectory::~AsideDirectory() {
  if (!live_) return;
  std::error_code ignored;
  std::filesystem::remove_all(aside_, ignored);
}

absl::StatusOr<AsideDirectory> AsideDirectory::Create(const std::filesystem::path& destination) {
  AsideDirectory directory(std::filesystem::absolute(destination).lexically_normal());
  std::error_code error;
  std::filesystem::remove_all(directory.aside_, error);
  if (!error) std::filesystem::create_directories(directory.aside_, error);
  if (error) return DirectoryError("making", directory.aside_, error);
  return directory;
}

absl::Status AsideDirectory::Publish() {
  LFM2_RETURN_IF_ERROR(SyncDirectory(aside_));
  std::error_code error;
  if (std::filesystem::exists(destination_, error)) {
    return DirectoryError("renaming to", destination_,
                          std::make_error_code(std::errc::file_exists));
  }
  std::filesystem::rename(aside_, destination_, error);
  if (error) return DirectoryError("renaming to", destination_, error);
  live_ = false;
  return SyncDirectory(destination_.parent_path());
}

absl::Status AsideDirectory::Replace() {
  const std::filesystem::path old = aside_.string() + "-replaced";
  std::error_code error;
  std::filesystem::remove_all(old, error);
  if (std::filesystem::exists(destination_, error)) {
    std::filesystem::rename(destination_, old, error);
    if (error) return DirectoryError("replacing", destination_, error);
  }
  LFM2_RETURN_IF_ERROR(Publish());
  std::filesystem::remove_all(old, error);
  if (error) return DirectoryError("removing the replaced", destination_, error);
  return absl::OkStatus();
}

absl::Status RemoveAsideDirectories(const std::filesystem::path& parent) {
  std::error_code error;
  std::vector<std::filesystem::path> leftovers;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    if (entry.path().filename().string().rfind(kPrefix, 0) == 0) leftovers.push_back(entry.path());
  }
  for (const std::filesystem::path& path : leftovers) {
    if (!error) std::filesystem::remove_all(path, error);
  }
  if (error) return DirectoryError("clearing", parent, error);
  return absl::OkStatus();
}

}  // namespace lfm2
