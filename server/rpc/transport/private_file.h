// Files that hold secrets: regular, and readable by their owner alone. Thread rule: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

enum class FilePrivacy { kPublic, kOwnerOnly };

// The content of a configured file of at most 1 MiB. kConfigInvalid naming `option` and the file;
// with kOwnerOnly also when group or others have any permission on it, but for a group's to read a
// file of $CREDENTIALS_DIRECTORY.
absl::StatusOr<std::string> ReadConfiguredFile(std::string_view option, const std::string& path,
                                               FilePrivacy privacy);

}  // namespace lfm2
