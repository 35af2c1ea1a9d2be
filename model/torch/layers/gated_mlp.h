// Gated feed-forward: down(silu(gate(x)) * up(x)) (SwiGLU, Shazeer 2020). Pure function.
#pragma once

#include <ATen/ATen.h>

#include "model/torch/layers/scope.h"

namespace lfm2 {

// x [T, d] to [T, d].
at::Tensor GatedMlp(const Scope& scope, const at::Tensor& x);

}  // namespace lfm2
