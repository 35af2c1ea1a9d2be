// Directory operations of both stores: create, publish by rename, and remove what a crash left.
//
// Names in a store never begin with a dot, so ".<anything>.tmp" is free for temporary files. Thread
// rule: no state but the disk. Messages name only the last component of a path.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lfm2 {

// kDiskFull, kFileNotFound, kStorageIoError; OK when `error` is not set.
absl::Status DiskStatus(std::error_code error, std::string_view action,
                        const std::filesystem::path& path);
// Creates the directory and its parents, and fsyncs the parent.
absl::Status MakeDirectory(const std::filesystem::path& path);
// Renames `from`, which must be complete and fsynced, and fsyncs the parent of `to`.
absl::Status PublishDirectory(const std::filesystem::path& from, const std::filesystem::path& to);
// Names of the entries, in alphabetical order.
absl::StatusOr<std::vector<std::string>> EntriesOf(const std::filesystem::path& directory);
// Removes every ".<anything>.tmp" in `directory`.
absl::Status RemoveLeftovers(const std::filesystem::path& directory);
// A path in `directory` that no other call returns, in this or any other running process.
std::filesystem::path AsidePathIn(const std::filesystem::path& directory);

}  // namespace lfm2
