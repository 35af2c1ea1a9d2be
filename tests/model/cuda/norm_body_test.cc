// Row kernels on the host against the formula in float64.
#include "model/cuda/norm_body.h"

#include <gtest/gtest.h>

#include "tests/model/cuda/values.h"

namespace lfm2 {
namespace {

class RowKernels : public testing::TestWithParam<int> {
 protected:
  std::mt19937_64 random_{11};
  const Lfm2CudaFunctions& f_ = HostCudaFunctions();
};

TEST_P(RowKernels, NormAddsWhatIsPendingAndIsTheFormulaForEveryWidth) {
  const int rows = 3;
  for (const int width : {1, 2, 31, 64, 255, 256, 257, 1000}) {
    const int64_t all = int64_t{rows} * width;
    for (int adds = 0; adds <= 2; ++adds) {
      const Values before = Values::Normal(GetParam(), all, random_);
      const Values a = Values::Normal(GetParam(), all, random_);
      const Values b = Values::Normal(GetParam(), all, random_);
      const Values weight = Values::Normal(GetParam(), width, random_);
      Values x = before, out(GetParam(), all + 1);
      out.Set(all, 99);
      const Lfm2CudaNorm args{
          GetParam(),    rows,      width,
          1e-5F,         x.data(),  {adds > 0 ? a.data() : nullptr, adds > 1 ? b.data() : nullptr},
          weight.data(), out.data()};
      ASSERT_EQ(f_.norm(nullptr, &args), 0);
      for (int64_t row = 0; row < rows; ++row) {
        double squares = 0;
        for (int64_t i = row * width; i < (row + 1) * width; ++i) {
          double sum = before[i];
          if (adds > 0) sum = RoundTo(GetParam(), sum + a[i]);
          if (adds > 1) sum = RoundTo(GetParam(), sum + b[i]);
          ASSERT_EQ(x[i], sum);
          squares += sum * sum;
        }
        for (int64_t i = 0; i < width; ++i) {
          const double expected =
              x[row * width + i] / std::sqrt(squares / width + 1e-5) * weight[i];
          ASSERT_NEAR(out[row * width + i], expected, 2 * out.Epsilon(expected)) << width;
        }
      }
      EXPECT_EQ(out[all], 99) << "wrote past the end of " << width;
    }
  }
}

TEST_P(RowKernels, EmbedTakesRowsOfTheTable) {
  const int64_t width = 300;
  const Values table = Values::Normal(GetParam(), 7 * width, random_);
  const int32_t ids[] = {6, 0, 3, 3};
  Values out(GetParam(), 4 * width);
  const Lfm2CudaEmbed args{GetParam(), 4, static_cast<int>(width), table.data(), ids, out.data()};
  ASSERT_EQ(f_.embed(nullptr, &args), 0);
  for (int64_t i = 0; i < 4 * width; ++i) {
    ASSERT_EQ(out[i], table[ids[i / width] * width + i % width]);
  }
}

TEST_P(RowKernels, BiasIsAddedToEveryRow) {
  for (const int64_t width : {1, 256, 300}) {
    const Values before = Values::Normal(GetParam(), 3 * width, random_);
    const Values bias = Values::Normal(GetParam(), width, random_);
    Values x = before;
    const Lfm2CudaBias args{GetParam(), 3, static_cast<int>(width), bias.data(), x.data()};
    ASSERT_EQ(f_.bias(nullptr, &args), 0);
    for (int64_t i = 0; i < 3 * width; ++i) {
      ASSERT_EQ(x[i], RoundTo(GetParam(), before[i] + bias[i % width]));
    }
  }
}

TEST_P(RowKernels, SiluMulIsTheFormulaFromOneEndOfFloatToTheOther) {
  for (const int64_t width : {1, 9, 256, 300}) {
    Values gate_up = Values::Normal(GetParam(), 4 * width, random_, 5.0);
    for (const auto& [at, edge] : {std::pair{0, -200.0}, {1, 200.0}, {2, 0.0}, {3, -1e30}}) {
      if (at < width) gate_up.Set(at, edge);
    }
    Values out(GetParam(), 2 * width);
    const Lfm2CudaSiluMul args{GetParam(), 2, static_cast<int>(width), gate_up.data(), out.data()};
    ASSERT_EQ(f_.silu_mul(nullptr, &args), 0);
    for (int64_t i = 0; i < 2 * width; ++i) {
      const double gate = gate_up[i / width * 2 * width + i % width];
      const double up = gate_up[i / width * 2 * width + width + i % width];
      const double expected = gate / (1 + std::exp(-gate)) * up;
      ASSERT_NEAR(out[i], expected, 2 * out.Epsilon(expected)) << gate << ' ' << up;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EachType, RowKernels, testing::ValuesIn(kDtypes));

}  // namespace
}  // namespace lfm2
