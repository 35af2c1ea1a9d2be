// Requests and answers of Models: shapes, conversions, exports, parity. Thread rule: pure
// functions, except that ResolveInit and ResolveExport read the stores.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lfm2/v1/models.pb.h"
#include "model/parity/probe.h"
#include "server/jobs/wire/job.h"
#include "server/rpc/transport/request_check.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

ModelShape CheckShape(const v1::ModelShape& shape, const Limits& limits, RequestCheck& check);

// Checks the request, then returns the job with its sources resolved.
absl::StatusOr<JobSpec> InitJob(const v1::InitModelRequest& request,
                                const ServiceContext& services);
absl::StatusOr<JobSpec> ExportJob(const v1::ExportRequest& request, const ServiceContext& services);

struct ParityAsk {
  std::vector<int32_t> tokens;
  bool all_logits = false;
  bool values = false;
  double tolerance = 1e-4;
};
absl::StatusOr<ParityAsk> CheckParity(const v1::ParityRequest& request, const Limits& limits);
// Checks that every token is in the model's vocabulary and that all fit into its context.
absl::Status CheckParityTokens(const std::vector<int32_t>& tokens, int64_t vocab_size,
                               int64_t context);

// Floats in one message: 1 MiB. Larger logits and probes are split, so each message fits the limit.
inline constexpr size_t kValuesPerMessage = 262'144;
v1::ParityResponse ProbeMessage(const Probe& probe, size_t offset);
v1::ParityResponse LogitsMessage(const ParityReport& report, int64_t position, size_t offset);
v1::ParityResponse ComparisonMessage(const ParityComparison& comparison);

// A report over 3 MiB is cut; its last entry says how many tensors are missing.
v1::ConversionReport ToProto(const ConversionReport& report);

}  // namespace lfm2
