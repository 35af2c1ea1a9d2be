// Gated diagonal state-space layer, S4D-Real (Gu et al. 2022) with zero-order hold, all in float32:
//   u, z = chunk(in_proj(h), 2)
//   A = -exp(A_log);  dt = exp(log_dt);  dA = exp(dt A);  dB = (dA - 1) / A * B
//   s_t = dA s_{t-1} + dB u_t;  y_t = sum_n C s_t + D u_t
//   out = out_proj(y * silu(z))
//
// Two implementations that agree: the step recurrence (decode) and a scan over chunks (prefill and
// training). The tests compare both with a third one, an FFT convolution. Advances the states of
// the spans; otherwise pure.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/torch/layers/scope.h"
#include "model/torch/span.h"

namespace lfm2 {

// h [T, d] to [T, d].
at::Tensor DiagonalSsm(const Scope& scope, const std::vector<SpanGroup>& groups, int64_t layer,
                       const at::Tensor& h);

// The recurrence's coefficients, float32.
struct SsmParameters {
  at::Tensor log_decay;  // dt * A, [d, N]
  at::Tensor dB;         // [d, N]
  at::Tensor C;          // [d, N]
  at::Tensor D;          // [d]
};
SsmParameters DiscretizeSsm(const at::Tensor& A_log, const at::Tensor& B, const at::Tensor& C,
                            const at::Tensor& D, const at::Tensor& log_dt);

struct SsmResult {
  at::Tensor y;      // [n, t, d]
  at::Tensor state;  // [n, d, N] after the last token
};

// One token: u [n, 1, d] from state [n, d, N].
SsmResult SsmStep(const SsmParameters& ssm, const at::Tensor& u, const at::Tensor& state);

// Any length: u [n, t, d] from state [n, d, N]. Inside a chunk the recurrence is a causal
// convolution, computed as one matrix product per channel; the state is carried between chunks.
// Differentiable. kSsmChunk, in tokens, balances the cost of the products inside a chunk with that
// of the products with the state.
inline constexpr int64_t kSsmChunk = 32;
SsmResult SsmScan(const SsmParameters& ssm, const at::Tensor& u, const at::Tensor& state,
                  int64_t chunk = kSsmChunk);

}  // namespace lfm2
