// LFM2's gated short convolution: B, C, x = in_proj(u); out_proj(C * conv(B * x)). Depthwise,
// causal, no activation. The carried state is the last L-1 values of B * x, the convolution's own
// input.
//
// Advances the states of the spans; otherwise pure.
#pragma once

#include <ATen/ATen.h>

#include <utility>
#include <vector>

#include "model/torch/layers/scope.h"
#include "model/torch/span.h"

namespace lfm2 {

// u [T, d] to [T, d].
at::Tensor ShortConv(const Scope& scope, const std::vector<SpanGroup>& groups, int64_t layer,
                     const at::Tensor& u);

struct CausalConvResult {
  at::Tensor y;        // [n, t, d]
  at::Tensor history;  // [n, L-1, d]: the last L-1 inputs
};

// Depthwise causal convolution of v [n, t, d] that continues after history [n, L-1, d]. weight [d,
// 1, L], whose last tap is multiplied with the current token; bias [d] or undefined. Sums in
// float32.
CausalConvResult CausalConv(const at::Tensor& v, const at::Tensor& history,
                            const at::Tensor& weight, const at::Tensor& bias);

}  // namespace lfm2
