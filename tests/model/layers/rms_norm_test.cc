#include "model/layers/rms_norm.h"

#include <cmath>

#include "tests/model/layers/compare.h"

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

TEST(RmsNorm, KeepsItsStatisticsInFloat32ForBfloat16) {
  // 4096 equal values: a bfloat16 sum of squares would stop growing long before the end.
  const at::Tensor x = at::full({1, 4096}, 3.0, at::kBFloat16);
  const at::Tensor y = RmsNorm(x, at::ones({4096}, at::kBFloat16), 1e-5);
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_LT(Difference(y, at::ones({1, 4096})), 1e-2);
}

TEST(RmsNorm, CastsBackBeforeTheWeight) {
  const at::Tensor x = at::tensor({1.0f, 2.0f, 3.0f}).to(at::kBFloat16).unsqueeze(0);
  const at::Tensor weight = at::tensor({1.1f, 0.7f, 1.3f}).to(at::kBFloat16);
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor rounded = (x32 * at::rsqrt((x32 * x32).mean(-1, true) + 1e-5)).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(RmsNorm(x, weight, 1e-5), rounded * weight));
}

}  // namespace
}  // namespace lfm2
