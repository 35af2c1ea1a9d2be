#include "model/torch/layers/attention.h"

#include <cmath>
#include <limits>
#include <optional>

namespace lfm2 {
namespace {

struct Qkv {
  at::Tensor q, k, v;  // [T, heads or kv_heads, head_dim]
};

Qkv Project(const Scope& scope, const ModelConfig& config, const RopeTable& rope,
            const at::Tensor& x) {
  const auto heads = [&](Role role, int64_t count) {
    return scope.Linear(role, x).view({x.size(0), count, config.head_dim});
  };
  Qkv out{heads(Role::kQuery, config.num_attention_heads),
          heads(Role::kKey, config.num_key_value_heads),
          heads(Role::kValue, config.num_key_value_heads)};
  if (config.qk_norm) {
    out.q = scope.Norm(Role::kQueryNorm, out.q, config.norm_eps);
    out.k = scope.Norm(Role::kKeyNorm, out.k, config.norm_eps);
  }
  out.q = ApplyRope(out.q, rope);
  out.k = ApplyRope(out.k, rope);
  return out;
}

at::Tensor AttendGroup(const SpanGroup& group, int64_t layer, const Qkv& all) {
  const auto rows = [&](const at::Tensor& tensor) {
    return tensor.narrow(0, group.begin, group.rows())
        .view({group.count, group.length, tensor.size(1), tensor.size(2)});
  };
  const at::Tensor q = rows(all.q), k = rows(all.k), v = rows(all.v);
  if (group.states.empty()) return CausalAttention(q, k, v).flatten(0, 1);
  std::vector<at::Tensor> parts;
  for (int64_t i = 0; i < group.count; ++i) {
    const auto [keys, values] = group.states[static_cast<size_t>(i)]->AppendKv(layer, k[i], v[i]);
    parts.push_back(
        CausalAttention(q.narrow(0, i, 1), keys.unsqueeze(0), values.unsqueeze(0)).squeeze(0));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

// [t, past + t]: added to the scores; -inf for keys after the query.
at::Tensor CausalMask(int64_t length, int64_t keys, const at::TensorOptions& options) {
  return at::full({length, keys}, -std::numeric_limits<double>::infinity(), options)
      .triu(keys - length + 1);
}

}  // namespace

at::Tensor Attention(const Scope& scope, const ModelConfig& config, const RopeTable& rope,
                     const std::vector<SpanGroup>& groups, int64_t layer, const at::Tensor& x) {
  const Qkv all = Project(scope, config, rope, x);
  std::vector<at::Tensor> parts;
  for (const SpanGroup& group : groups) parts.push_back(AttendGroup(group, layer, all));
  const at::Tensor y = parts.size() == 1 ? parts[0] : at::cat(parts);
  return scope.Linear(Role::kAttentionOut, y.flatten(1, 2));
}

at::Tensor CausalAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const bool has_fused_kernel = q.is_cpu() || q.is_cuda();
  return q.size(1) > 1 && has_fused_kernel ? FusedAttention(q, k, v) : PlainAttention(q, k, v);
}

// For many queries, because it never holds all scores at once.
at::Tensor FusedAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t length = q.size(1), keys = k.size(1);
  std::optional<at::Tensor> mask;
  if (keys > length) mask = CausalMask(length, keys, q.options());
  return at::scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                          mask, /*dropout_p=*/0.0, /*is_causal=*/keys == length,
                                          /*scale=*/std::nullopt,
                                          /*enable_gqa=*/q.size(2) != k.size(2))
      .transpose(1, 2);
}

// The queries of a group of heads are the rows of one matrix, multiplied with the key head that
// they share, which is not copied or repeated. For one query, this takes two matrix products per
// key head.
at::Tensor PlainAttention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t n = q.size(0), t = q.size(1), kv = k.size(2), group = q.size(2) / kv;
  const int64_t keys = k.size(1), head_dim = q.size(3);
  const at::Tensor rows = q.view({n, t, kv, group, head_dim})
                              .permute({0, 2, 3, 1, 4})
                              .reshape({n, kv, group * t, head_dim});
  at::Tensor scores = at::matmul(rows, k.permute({0, 2, 3, 1})).to(at::kFloat) *
                      (1.0 / std::sqrt(static_cast<double>(head_dim)));
  if (t > 1) {
    scores = scores.view({n, kv, group, t, keys}) + CausalMask(t, keys, scores.options());
    scores = scores.view({n, kv, group * t, keys});
  }
  const at::Tensor mixed = at::matmul(scores.softmax(-1).to(q.scalar_type()), v.transpose(1, 2));
  return mixed.view({n, kv, group, t, head_dim})
      .permute({0, 3, 1, 2, 4})
      .reshape({n, t, kv * group, head_dim});
}

}  // namespace lfm2
