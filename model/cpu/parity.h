// Probes of one pass of the served kernels: the twin of model/parity.h. What it reports is what is
// served: with bf16, int8 or int4 weights, their arithmetic.
#pragma once

#include <span>

#include "absl/status/statusor.h"
#include "model/core/probe.h"
#include "model/cpu/decoder.h"

namespace lfm2 {

// One pass over `tokens` from an empty state. kPromptEmpty, kInvalidArgument, kOutOfMemory.
absl::StatusOr<ParityReport> RunCpuParity(CpuDecoder& decoder, std::span<const int32_t> tokens,
                                          bool keep_values);

}  // namespace lfm2
