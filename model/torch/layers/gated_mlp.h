// Gated feed-forward: down(silu(gate(x)) * up(x)) (SwiGLU, Shazeer 2020). Pure function.
#pragma once

#include <ATen/ATen.h>

#include "model/torch/layers/scope.h"

namespace lfm2 {

// Names of the three linear layers: LFM2 calls them w1, w3 and w2, the hybrid as Llama does.
struct GatedMlpNames {
  const char* gate;
  const char* up;
  const char* down;
};
inline constexpr GatedMlpNames kLfm2MlpNames{"w1", "w3", "w2"};
inline constexpr GatedMlpNames kLlamaMlpNames{"gate_proj", "up_proj", "down_proj"};

// x [T, d] to [T, d].
at::Tensor GatedMlp(const Scope& scope, const GatedMlpNames& names, const at::Tensor& x);

}  // namespace lfm2
