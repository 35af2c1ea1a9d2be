// Probes of a forward pass with the kernels that serve: the twin of model/torch/parity.h. With
// bf16, int8 or int4 weights it reports the results of that arithmetic.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "model/cpu/decoder.h"
#include "model/parity/report_builder.h"

namespace lfm2 {

// Runs the next chunk of a pass from `state`, advances `state`, and adds the chunk's probes to
// `report`. kPromptEmpty, kInvalidArgument, kOutOfMemory; may throw std::bad_alloc. After any of
// them neither `state` nor `report` may be used.
absl::Status RunCpuParity(CpuDecoder& decoder, CpuState& state, std::span<const int32_t> tokens,
                          ReportBuilder& report);

}  // namespace lfm2
