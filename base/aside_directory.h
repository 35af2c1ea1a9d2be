// A directory that is written under a temporary name and renamed when it is complete: after a crash
// the destination is absent, unchanged or complete.
//
// Thread rule: one thread. Ownership: the destructor removes a directory that was not published.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace lfm2 {

class AsideDirectory {
 public:
  // Makes ".tmp-<name>" beside `destination`, after removing one that a crash left. kDiskFull,
  // kStorageIoError.
  static absl::StatusOr<AsideDirectory> Create(const std::filesystem::path& destination);
  AsideDirectory(AsideDirectory&& other) noexcept;
  AsideDirectory& operator=(AsideDirectory&&) = delete;
  ~AsideDirectory();

  const std::filesystem::path& path() const { return aside_; }

  // Fsyncs the directory, renames it to the destination and fsyncs the parent. The caller fsyncs
  // the files inside. kModelExists when the destination exists.
  absl::Status Publish();
  // The same, but replaces a destination that exists.
  absl::Status Replace();

 private:
  explicit AsideDirectory(std::filesystem::path destination);
  std::filesystem::path destination_, aside_;
  bool live_ = true;
};

// Removes directories that AsideDirectory left in `parent` when its process died.
absl::Status RemoveAsideDirectories(const std::filesystem::path& parent);

}  // namespace lfm2
