#include "model/torch/layers/rope.h"

#include <cmath>

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

TEST(Rope, TurnsEachPairByPositionTimesFrequency) {
  at::manual_seed(2);
  const int64_t positions[] = {0, 1, 5, 1000};
  const at::Tensor x = at::randn({4, 2, 8});
  const RopeTable table = MakeRopeTable(at::tensor(at::ArrayRef<int64_t>(positions), at::kLong),
                                        RopeFrequencies(8, 10000.0, at::kCPU), at::kFloat);
  const at::Tensor y = ApplyRope(x, table);
  const auto in = x.accessor<float, 3>(), out = y.accessor<float, 3>();
  for (int64_t t = 0; t < 4; ++t) {
    for (int64_t h = 0; h < 2; ++h) {
      for (int64_t i = 0; i < 4; ++i) {
        const double angle = static_cast<double>(positions[t]) *
                             std::pow(10000.0, -2.0 * static_cast<double>(i) / 8);
        const double a = in[t][h][i], b = in[t][h][i + 4];
        EXPECT_NEAR(out[t][h][i], a * std::cos(angle) - b * std::sin(angle), 2e-4);
        EXPECT_NEAR(out[t][h][i + 4], b * std::cos(angle) + a * std::sin(angle), 2e-4);
      }
    }
  }
}

TEST(Rope, ScoresDependOnTheDistanceAlone) {
  at::manual_seed(3);
  const at::Tensor frequencies = RopeFrequencies(16, 1e6, at::kCPU);
  const at::Tensor q = at::randn({1, 1, 16}), k = at::randn({1, 1, 16});
  const auto score = [&](int64_t at_q, int64_t at_k) {
    const auto turn = [&](const at::Tensor& x, int64_t position) {
      return ApplyRope(x,
                       MakeRopeTable(at::full({1}, position, at::kLong), frequencies, at::kFloat));
    };
    return (turn(q, at_q) * turn(k, at_k)).sum().item<double>();
  };
  EXPECT_NEAR(score(7, 3), score(107, 103), 1e-4);
  EXPECT_NE(score(7, 3), score(7, 4));
}

TEST(Rope, TableHasTheActivationsType) {
  const RopeTable table =
      MakeRopeTable(at::arange(3), RopeFrequencies(8, 1e4, at::kCPU), at::kBFloat16);
  EXPECT_EQ(table.cos.scalar_type(), at::kBFloat16);
  EXPECT_EQ(table.cos.sizes(), at::IntArrayRef({3, 1, 4}));
}

}  // namespace
}  // namespace lfm2
