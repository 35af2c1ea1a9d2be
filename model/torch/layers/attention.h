// Causal grouped-query attention over the carried keys and values (Vaswani et al. 2017; Ainslie et
// al. 2023).
//
// Advances the states of the spans; otherwise pure.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "model/arch/config.h"
#include "model/torch/layers/rope.h"
#include "model/torch/layers/scope.h"
#include "model/torch/span.h"

namespace lfm2 {

// x [T, d] to [T, d].
at::Tensor Attention(const Scope& scope, const ModelConfig& config, const RopeTable& rope,
                     const std::vector<SpanGroup>& groups, int64_t layer, const at::Tensor& x);

// q [n, t, heads, head_dim] over k and v [n, past + t, kv_heads, head_dim]: row i sees the first
// past + i + 1 keys. Scale head_dim^-0.5. Returns [n, t, heads, head_dim].
at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// The two implementations that CausalAttention chooses from. Fused: LibTorch's kernel, for many
// queries. Plain: for one query, and for devices without such a kernel.
at::Tensor FusedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);
at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace lfm2
