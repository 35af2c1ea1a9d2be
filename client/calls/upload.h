// Uploads local files, addressed by content: sends the SHA-256 first, and the server may answer at
// once that it has the file. Thread rule: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/calls/session.h"
#include "client/flags/source.h"

namespace lfm2 {

// The SHA-256 under which the file is uploaded. kFileNotFound when it cannot be opened or is not a
// regular file, kStorageIoError when it cannot be read.
absl::StatusOr<std::string> HashOf(const LocalFile& file);

// Shows the progress on a terminal.
absl::StatusOr<v1::Dataset> UploadFile(Session& session, const LocalFile& file);

// Uploads the source if it is local.
absl::StatusOr<v1::Source> UploadSource(Session& session, const ResolvedSource& resolved);

// ResolveSource, then UploadSource.
absl::StatusOr<v1::Source> MakeSource(Session& session, const std::string& text,
                                      SourcePurpose purpose);

}  // namespace lfm2
