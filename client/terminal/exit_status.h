// How the program ends: its exit codes, and statuses made here that say theirs.
// Thread rule: all functions are pure.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/status.h"

namespace lfm2 {

// docs: the exit codes of lfm2ctl. Scripts rely on them.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailedResult = 1,  // parity differs, the job failed
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitDenied = 4,
  kExitInvalid = 5,
  kExitUnavailable = 6,
  kExitFull = 7,
  kExitDeadline = 8,
  kExitConflict = 9,
  kExitInternal = 70,
  kExitConfig = 78,
  kExitInterrupted = 130,
};

absl::Status UsageError(std::string_view message);    // exit 2
absl::Status ConfigError(std::string_view message);   // exit 78: a TLS or token file, an address
absl::Status FailedResult(std::string_view message);  // exit 1
absl::Status OutputClosed();  // nobody reads stdout any more: exit 0, nothing printed
bool IsOutputClosed(const absl::Status& status);

// The exit code of a status that was made by one of the four above.
std::optional<int> OwnExitCode(const absl::Status& status);
int ExitCodeOf(const absl::Status& status);
int ExitCodeOf(absl::StatusCode code);

}  // namespace lfm2
