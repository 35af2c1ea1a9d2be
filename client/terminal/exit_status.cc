#include "client/terminal/exit_status.h"

#include <cstdlib>
#include <string>

#include "absl/strings/cord.h"

namespace lfm2 {
namespace {

constexpr char kExitUrl[] = "lfm2ctl/exit-code";

absl::Status WithExit(absl::StatusCode code, std::string_view message, int exit_code) {
  absl::Status status(code, absl::string_view(message.data(), message.size()));
  status.SetPayload(kExitUrl, absl::Cord(std::to_string(exit_code)));
  return status;
}

}  // namespace

absl::Status UsageError(std::string_view message) {
  return WithExit(absl::StatusCode::kInvalidArgument, message, kExitUsage);
}

absl::Status ConfigError(std::string_view message) {
  return WithExit(absl::StatusCode::kFailedPrecondition, message, kExitConfig);
}

absl::Status FailedResult(std::string_view message) {
  return WithExit(absl::StatusCode::kAborted, message, kExitFailedResult);
}

absl::Status OutputClosed() {
  return WithExit(absl::StatusCode::kCancelled, "nobody reads the output any more", kExitOk);
}

bool IsOutputClosed(const absl::Status& status) { return OwnExitCode(status) == kExitOk; }

std::optional<int> OwnExitCode(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kExitUrl);
  if (!payload) return std::nullopt;
  return std::atoi(std::string(*payload).c_str());
}

int ExitCodeOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kCancelled:
      return kExitFailedResult;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kExitDenied;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitInvalid;
    case absl::StatusCode::kUnavailable:
      return kExitUnavailable;
    case absl::StatusCode::kResourceExhausted:
      return kExitFull;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitDeadline;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kFailedPrecondition:
      return kExitConflict;
    default:
      return kExitInternal;
  }
}

int ExitCodeOf(const absl::Status& status) {
  return OwnExitCode(status).value_or(ExitCodeOf(status.code()));
}

}  // namespace lfm2
