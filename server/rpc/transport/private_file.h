// Reads files that hold secrets: regular files that only their owner may read. Thread rule: no
// state but the disk.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

enum class FilePrivacy { kPublic, kOwnerOnly };

// The content of a configured file of at most 1 MiB. kConfigInvalid, naming `option` and the file.
// With kOwnerOnly also when group or others have any permission on it; the group may still read a
// file in $CREDENTIALS_DIRECTORY.
absl::StatusOr<std::string> ReadConfiguredFile(std::string_view option, const std::string& path,
                                               FilePrivacy privacy);

}  // namespace lfm2
