// An error as the command line shows it: its exit code, and everything that the google.rpc details
// say about it.
//
// Errors are passed as absl::Status. An error from gRPC has the server's google.rpc.Status as a
// payload; an error of the client is made by base/errors.h or the four functions below. Thread
// rule: all functions are pure.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/errors.h"
#include "client/terminal/console.h"

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

struct Failure {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  int exit_code = kExitInternal;
  std::string reason;  // of the table in base/errors.h, or the code's name
  std::string message;
  std::string fix;
  std::string request_id;
  std::string resource;  // "model \"ckpt\""
  std::map<std::string, std::string> metadata;
  std::vector<FieldViolation> violations;
  std::optional<int64_t> retry_after_ms;
};

absl::Status FromGrpc(const grpc::Status& status, std::string_view request_id);
absl::Status UsageError(std::string_view message);    // exit 2
absl::Status ConfigError(std::string_view message);   // exit 78: a TLS or token file, an address
absl::Status FailedResult(std::string_view message);  // exit 1
absl::Status OutputClosed();  // the reader of stdout has gone: exit 0, nothing printed
bool IsOutputClosed(const absl::Status& status);

Failure FailureOf(const absl::Status& status);
int ExitCodeOf(const absl::Status& status);
int ExitCodeOf(absl::StatusCode code);
const char* CodeName(absl::StatusCode code);  // "NOT_FOUND"

std::string RenderFailure(const Failure& failure, const Console& console);
Json FailureToJson(const Failure& failure);

}  // namespace lfm2
