#include "model/torch/layers/rms_norm.h"

#include <cmath>

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

TEST(RmsNorm, MatchesTheFormulaInDouble) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({5, 3, 16}) * 7, weight = at::randn({16});
  const at::Tensor y = RmsNorm(x, weight, 1e-5);
  const auto in = x.accessor<float, 3>(), out = y.accessor<float, 3>();
  for (int64_t i = 0; i < 5; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      double square = 0;
      for (int64_t d = 0; d < 16; ++d) square += double{in[i][j][d]} * in[i][j][d];
      const double scale = 1 / std::sqrt(square / 16 + 1e-5);
      for (int64_t d = 0; d < 16; ++d) {
        EXPECT_NEAR(out[i][j][d], in[i][j][d] * scale * weight[d].item<float>(), 1e-5);
      }
    }
  }
}

TEST(RmsNorm, RoundsOnceForBfloat16BecauseItsStatisticsAreFloat32) {
  at::manual_seed(2);
  const at::Tensor x = (at::randn({64, 48}) * 7).to(at::kBFloat16);
  const at::Tensor y = RmsNorm(x, at::ones({48}, at::kBFloat16), 1e-5);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  const at::Tensor exact = x.to(at::kDouble);
  const at::Tensor expected = exact * at::rsqrt((exact * exact).mean(-1, true) + 1e-5);
  const at::Tensor error = ((y.to(at::kDouble) - expected) / expected).abs();
  EXPECT_LT(error.max().item<double>(), 0x1.02p-8)
      << "half a unit in the last of 8 significant bits";
}

TEST(RmsNorm, CastsBackBeforeTheWeight) {
  at::manual_seed(3);
  const at::Tensor x = at::randn({16, 32}).to(at::kBFloat16);
  const at::Tensor weight = at::randn({32}).to(at::kBFloat16);
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor rounded = (x32 * at::rsqrt((x32 * x32).mean(-1, true) + 1e-5)).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(RmsNorm(x, weight, 1e-5), rounded * weight));
}

}  // namespace
}  // namespace lfm2
