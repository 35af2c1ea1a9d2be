// Converts an absl::Status to what is sent: the gRPC code and message, and google.rpc details in
// grpc-status-details-bin. Thread rule: pure functions.
#pragma once

#include <grpcpp/support/status.h>

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace lfm2 {

// ErrorInfo (domain "lfm2.v1"), RequestInfo, and where they fit BadRequest, RetryInfo,
// ResourceInfo, PreconditionFailure. UNKNOWN becomes INTERNAL. A peer accepts about 8 KiB of
// metadata, so a long message is cut (ending in "…") and violations past 2 KiB are counted in
// ErrorInfo's metadata as violations_left_out.
grpc::Status ToGrpcStatus(const absl::Status& status, const std::string& request_id);

// The inverse, for details that this program made.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace lfm2
