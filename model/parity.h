// Probes of one forward pass: per layer and sub-block sum, abs_mean, max and norm, and the logits;
// and the comparison of two such reports. The same code answers the Parity RPC and the tests
// labelled parity.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/core/probe.h"
#include "model/decoder.h"

namespace lfm2 {

// One float32 pass over `tokens` from an empty state. Catches c10::Error.
absl::StatusOr<ParityReport> RunParity(const Decoder& decoder, std::span<const int32_t> tokens,
                                       bool keep_values);

}  // namespace lfm2
