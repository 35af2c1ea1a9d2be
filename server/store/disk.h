// What both stores do to directories: make, publish by rename, and clear what a crash left.
//
// A store's own names never begin with a dot, so ".<anything>.tmp" is its to write aside and to
// clear. Thread rule: pure functions on the disk. Messages name the last component of a path only.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lfm2 {

// kDiskFull, kFileNotFound, kStorageIoError; OK when there is no error.
absl::Status DiskStatus(std::error_code error, std::string_view action,
                        const std::filesystem::path& path);
// Makes it, its parents too, and syncs the parent.
absl::Status MakeDirectory(const std::filesystem::path& path);
// Renames `from`, which is complete and synced, and syncs the parent of `to`.
absl::Status PublishDirectory(const std::filesystem::path& from, const std::filesystem::path& to);
// Names of the entries, in order of the alphabet.
absl::StatusOr<std::vector<std::string>> EntriesOf(const std::filesystem::path& directory);
// Removes every ".<anything>.tmp" in `directory`.
absl::Status RemoveLeftovers(const std::filesystem::path& directory);
// A path in `directory` that no other call of this process or another live one returns.
std::filesystem::path AsidePathIn(const std::filesystem::path& directory);

}  // namespace lfm2
