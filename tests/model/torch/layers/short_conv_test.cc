#include "model/torch/layers/short_conv.h"

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

struct Case {
  int64_t taps, length;
};
class CausalConvShapes : public testing::TestWithParam<Case> {};

TEST_P(CausalConvShapes, MatchesTheLibraryConvolutionOverHistoryAndInput) {
  const auto [taps, length] = GetParam();
  at::manual_seed(6);
  const at::Tensor v = at::randn({2, length, 5}), history = at::randn({2, taps - 1, 5}),
                   weight = at::randn({5, 1, taps}), bias = at::randn({5});
  const CausalConvResult result = CausalConv(v, history, weight, bias);
  const at::Tensor inputs = at::cat({history, v}, 1);
  const at::Tensor expected =
      at::conv1d(inputs.transpose(1, 2), weight, bias, 1, at::IntArrayRef({0}), 1, 5)
          .transpose(1, 2);
  EXPECT_LT(Difference(result.y, expected), 1e-5);
  EXPECT_TRUE(at::equal(result.history, inputs.slice(1, length)));
}

INSTANTIATE_TEST_SUITE_P(Shapes, CausalConvShapes,
                         testing::Values(Case{3, 1}, Case{3, 2}, Case{3, 9}, Case{4, 1}, Case{4, 7},
                                         Case{1, 3}));

TEST(CausalConv, LastTapMeetsTheCurrentToken) {
  const at::Tensor weight = at::tensor({0.0f, 0.0f, 1.0f}).view({1, 1, 3});
  const at::Tensor v = at::randn({1, 4, 1});
  EXPECT_TRUE(at::equal(CausalConv(v, at::zeros({1, 2, 1}), weight, {}).y, v));
}

TEST(CausalConv, SumsInFloat32ForBfloat16) {
  // 256 + 1 is not a bfloat16: summed there, the two small taps would vanish one by one.
  const at::Tensor v = at::tensor({1.0f, 1.0f, 256.0f}).view({1, 3, 1}).to(at::kBFloat16);
  const at::Tensor y =
      CausalConv(v, at::zeros({1, 2, 1}, at::kBFloat16), at::ones({1, 1, 3}, at::kBFloat16), {}).y;
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_EQ(y[0][2][0].item<float>(), 258.0f);
}

}  // namespace
}  // namespace lfm2
