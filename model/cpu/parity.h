// Probes of a pass of the served kernels: the twin of model/torch/parity.h. What it reports is what
// is served: with bf16, int8 or int4 weights, their arithmetic.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "model/cpu/decoder.h"
#include "model/parity/report_builder.h"

namespace lfm2 {

// The next chunk of a pass, which `state` stands before: advances it, and adds what the chunk gives
// to `report`. kPromptEmpty, kInvalidArgument, kOutOfMemory: then both are spent. std::bad_alloc
// likewise.
absl::Status RunCpuParity(CpuDecoder& decoder, CpuState& state, std::span<const int32_t> tokens,
                          ReportBuilder& report);

}  // namespace lfm2
