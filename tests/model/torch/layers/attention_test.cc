#include "model/torch/layers/attention.h"

#include <cmath>
#include <vector>

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

// The definition, one query at a time.
at::Tensor AttentionByDefinition(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t length = q.size(1), past = k.size(1) - length, group = q.size(2) / k.size(2);
  at::Tensor out = at::zeros_like(q, at::kDouble);
  for (int64_t n = 0; n < q.size(0); ++n) {
    for (int64_t i = 0; i < length; ++i) {
      for (int64_t h = 0; h < q.size(2); ++h) {
        const at::Tensor keys = k[n].slice(0, 0, past + i + 1).select(1, h / group).to(at::kDouble);
        const at::Tensor values =
            v[n].slice(0, 0, past + i + 1).select(1, h / group).to(at::kDouble);
        const at::Tensor scores =
            keys.mv(q[n][i][h].to(at::kDouble)) / std::sqrt(static_cast<double>(q.size(3)));
        out[n][i][h] = values.t().mv(scores.softmax(0));
      }
    }
  }
  return out;
}

struct Shape {
  int64_t sequences, length, past, heads, kv_heads;
};
class CausalAttentionShapes : public testing::TestWithParam<Shape> {};

TEST_P(CausalAttentionShapes, MatchesTheDefinition) {
  const auto [n, t, past, heads, kv] = GetParam();
  at::manual_seed(4);
  const at::Tensor q = at::randn({n, t, heads, 8}), k = at::randn({n, past + t, kv, 8}),
                   v = at::randn({n, past + t, kv, 8});
  const at::Tensor expected = AttentionByDefinition(q, k, v);
  EXPECT_LT(Difference(CausalAttention(q, k, v), expected), 1e-5);
  EXPECT_LT(Difference(FusedAttention(q, k, v), expected), 1e-5);
  EXPECT_LT(Difference(PlainAttention(q, k, v), expected), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Shapes, CausalAttentionShapes,
                         testing::Values(Shape{1, 1, 0, 4, 2}, Shape{1, 1, 9, 4, 2},
                                         Shape{1, 7, 0, 4, 2}, Shape{1, 5, 6, 4, 1},
                                         Shape{3, 7, 0, 4, 4}, Shape{2, 33, 0, 6, 3},
                                         Shape{1, 40, 70, 4, 2}));

TEST(CausalAttention, SharedKeyHeadsGetTheGradientOfTheirWholeGroup) {
  at::manual_seed(5);
  const at::Tensor q = at::randn({2, 6, 4, 8}).requires_grad_(true);
  const at::Tensor k = at::randn({2, 6, 2, 8}).requires_grad_(true);
  const at::Tensor v = at::randn({2, 6, 2, 8}).requires_grad_(true);
  const at::Tensor direction = at::randn({2, 6, 4, 8});
  (CausalAttention(q, k, v) * direction).sum().backward();
  const at::Tensor keys = k.detach().repeat_interleave(2, 2).requires_grad_(true);
  const at::Tensor mask = at::ones({6, 6}, at::kBool).tril();
  const at::Tensor scores = at::einsum("nqhd,nkhd->nhqk", {q.detach(), keys}) / std::sqrt(8.0);
  const at::Tensor weights = scores.masked_fill(mask.logical_not(), -1e30).softmax(-1);
  (at::einsum("nhqk,nkhd->nqhd", {weights, v.detach().repeat_interleave(2, 2)}) * direction)
      .sum()
      .backward();
  EXPECT_LT(Difference(k.grad(), keys.grad().view({2, 6, 2, 2, 8}).sum(3)), 1e-5);
}

}  // namespace
}  // namespace lfm2
