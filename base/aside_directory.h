// A directory written aside and put in its place whole: the destination is absent, or the old one,
// or complete.
//
// Thread rule: one thread. Ownership: the directory aside is removed when the object dies
// unpublished.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace lfm2 {

class AsideDirectory {
 public:
  // Makes ".tmp-<name>" beside `destination`; one left by a crash is removed first. kDiskFull,
  // kStorageIoError.
  static absl::StatusOr<AsideDirectory> Create(const std::filesystem::path& destination);
  AsideDirectory(AsideDirectory&& other) noexcept;
  AsideDirectory& operator=(AsideDirectory&&) = delete;
  ~AsideDirectory();

  const std::filesystem::path& path() const { return aside_; }

  // Fsyncs the directory, renames it to the destination and fsyncs the parent. Files inside are the
  // caller's to fsync. kModelExists when the destination is there.
  absl::Status Publish();
  // The same, but a destination that is there is replaced.
  absl::Status Replace();

 private:
  explicit AsideDirectory(std::filesystem::path destination);
  std::filesystem::path destination_, aside_;
  bool live_ = true;
};

// Removes directories that AsideDirectory left in `parent` when its process died.
absl::Status RemoveAsideDirectories(const std::filesystem::path& parent);

}  // namespace lfm2
