// An error as the command line shows it: its exit code, and everything that the google.rpc details
// say about it.
//
// Errors are passed as absl::Status. An error from gRPC has the server's google.rpc.Status as
// a payload; an error of the client is made by base/errors.h or exit_status.h. Thread rule: all
// functions are pure.
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
#include "client/terminal/exit_status.h"

namespace lfm2 {

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

Failure FailureOf(const absl::Status& status);
const char* CodeName(absl::StatusCode code);  // "NOT_FOUND"

std::string RenderFailure(const Failure& failure, const Console& console);
Json FailureToJson(const Failure& failure);

}  // namespace lfm2
