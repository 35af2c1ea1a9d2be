#include "model/kernels/matmul/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace lfm2 {
namespace {

struct Shape {
  int64_t rows, cols;
};

TensorView F32View(const std::vector<float>& values, int64_t rows, int64_t cols) {
  TensorView view;
  view.name = "w";
  view.dtype = DType::kF32;
  view.shape = {rows, cols};
  view.data = reinterpret_cast<const std::byte*>(values.data());
  view.bytes = rows * cols * 4;
  return view;
}

std::vector<float> Normal(int64_t n, float sigma, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, sigma);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

float RoundToBFloat16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, 4);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000U;
  std::memcpy(&value, &bits, 4);
  return value;
}

// The twin: what matmul.h says an activation becomes, as doubles.
std::vector<double> RoundedRow(const float* x, int64_t cols, WeightFormat format, Isa isa) {
  std::vector<double> row(x, x + cols);
  if (format == WeightFormat::kF32) return row;
  if (format == WeightFormat::kBF16) {
    for (double& value : row) {
      if (isa >= Isa::kAvx512BF16) value = RoundToBFloat16(static_cast<float>(value));
    }
    return row;
  }
  for (int64_t begin = 0; begin < cols; begin += 32) {
    const int64_t end = std::min(cols, begin + 32);
    float largest = 0;
    for (int64_t c = begin; c < end; ++c) largest = std::max(largest, std::abs(x[c]));
    const float inverse = 127.0F / largest;
    for (int64_t c = begin; c < end; ++c) {
      row[c] = largest < 1e-35F ? 0.0 : std::nearbyint(x[c] * inverse) * double{largest / 127.0F};
    }
  }
  return row;
}

struct Expected {
  double value;
  double magnitude;  // sum of the products' magnitudes
};

Expected Dot(const std::vector<double>& x, const std::vector<float>& w) {
  Expected sum{0, 0};
  for (size_t c = 0; c < w.size(); ++c) {
    sum.value += x[c] * w[c];
    sum.magnitude += std::abs(x[c] * w[c]);
  }
  return sum;
}

struct Case {
  WeightFormat format;
  Isa isa;
};

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    if (!CanRun(isa)) continue;
    for (WeightFormat format :
         {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kInt8, WeightFormat::kInt4}) {
      cases.push_back({format, isa});
    }
  }
  return cases;
}

class MatMulTest : public testing::TestWithParam<Case> {
 protected:
  PackedMatrix Pack(const std::vector<float>& w, Shape shape, ThreadPool& pool) {
    const TensorView view = F32View(w, shape.rows, shape.cols);
    auto packed = PackedMatrix::Pack({&view, 1}, GetParam().format, GetParam().isa, pool);
    EXPECT_TRUE(packed.ok()) << packed.status();
    return *std::move(packed);
  }

  void ExpectTwin(Shape shape, int64_t tokens, float sigma);
  void ExpectSameTogetherAndAlone(Shape shape, int64_t tokens);
};

void MatMulTest::ExpectSameTogetherAndAlone(Shape shape, int64_t tokens) {
  ThreadPool pool(3);
  const PackedMatrix w = Pack(Normal(shape.rows * shape.cols, 0.05F, 5), shape, pool);
  const auto x = Normal(tokens * shape.cols, 1.0F, 6);
  std::vector<float> together(static_cast<size_t>(tokens * shape.rows)), alone(together.size());
  MatMul(w, x.data(), tokens, together.data(), pool);
  for (int64_t t = 0; t < tokens; ++t) {
    MatMul(w, x.data() + t * shape.cols, 1, alone.data() + t * shape.rows, pool);
  }
  EXPECT_EQ(0, std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)));
}

void MatMulTest::ExpectTwin(Shape shape, int64_t tokens, float sigma) {
  ThreadPool pool(2);
  const auto weights = Normal(shape.rows * shape.cols, 0.02F, 1);
  const auto x = Normal(tokens * shape.cols, sigma, 2);
  const PackedMatrix w = Pack(weights, shape, pool);
  std::vector<float> y(static_cast<size_t>(tokens * shape.rows + 1), -7.0F);
  MatMul(w, x.data(), tokens, y.data(), pool);
  EXPECT_EQ(y.back(), -7.0F) << "written past the end";
  std::vector<float> row(static_cast<size_t>(shape.cols));
  for (int64_t t = 0; t < tokens; ++t) {
    const auto rounded =
        RoundedRow(x.data() + t * shape.cols, shape.cols, GetParam().format, GetParam().isa);
    for (int64_t r = 0; r < shape.rows; ++r) {
      w.Row(r, row);
      const Expected expected = Dot(rounded, row);
      // A float32 chain of n terms stays within n half units of the sum of magnitudes.
      const double bound =
          expected.magnitude * (static_cast<double>(shape.cols) + 4) * 6e-8 + 1e-30;
      ASSERT_NEAR(y[t * shape.rows + r], expected.value, bound)
          << "row " << r << " token " << t << " of [" << shape.rows << ", " << shape.cols << "]";
    }
  }
}

TEST_P(MatMulTest, EqualsTheDoublePrecisionTwinOnOddShapes) {
  for (Shape shape : {Shape{1, 1},
                      {1, 33},
                      {17, 1},
                      {16, 32},
                      {15, 31},
                      {33, 64},
                      {40, 65},
                      {100, 160},
                      {64, 1024},
                      {130, 97}}) {
    for (int64_t tokens : {1, 2, 3, 5, 12, 13, 27}) ExpectTwin(shape, tokens, 1.0F);
  }
}

TEST_P(MatMulTest, EqualsTheTwinWhereColumnsAreCutIntoStretches) {
  ExpectTwin({48, 20000}, 30, 1.0F);
}

TEST_P(MatMulTest, RowOfTheResultDependsOnItsRowOfTheInputAlone) {
  std::mt19937 random(11);
  for (int round = 0; round < 24; ++round) {
    const Shape shape{1 + static_cast<int64_t>(random() % 150),
                      1 + static_cast<int64_t>(random() % 700)};
    ThreadPool one(1);
    const auto weights = Normal(shape.rows * shape.cols, 0.05F, 100 + round);
    const PackedMatrix w = Pack(weights, shape, one);
    const int64_t tokens = 1 + static_cast<int64_t>(random() % 70);
    const auto x = Normal(tokens * shape.cols, 1.0F, 200 + round);
    std::vector<float> alone(static_cast<size_t>(tokens * shape.rows));
    for (int64_t t = 0; t < tokens; ++t) {
      MatMul(w, x.data() + t * shape.cols, 1, alone.data() + t * shape.rows, one);
    }
    for (int threads = 1; threads <= 3; ++threads) {
      ThreadPool pool(threads);
      // A stretch of the batch, at any place in it.
      const int64_t first = static_cast<int64_t>(random() % tokens);
      const int64_t count = 1 + static_cast<int64_t>(random() % (tokens - first));
      std::vector<float> together(static_cast<size_t>(count * shape.rows));
      MatMul(w, x.data() + first * shape.cols, count, together.data(), pool);
      ASSERT_EQ(0, std::memcmp(together.data(), alone.data() + first * shape.rows,
                               together.size() * sizeof(float)))
          << "[" << shape.rows << ", " << shape.cols << "] tokens " << first << " + " << count
          << " threads " << threads;
    }
  }
}

TEST_P(MatMulTest, IsTheSameWhenColumnsAreCutIntoStretches) {
  ExpectSameTogetherAndAlone({70, 18001}, 70);
}

TEST_P(MatMulTest, IsTheSameWhenTokensTakeTurns) { ExpectSameTogetherAndAlone({40, 96}, 600); }

TEST_P(MatMulTest, IsTheSameWhenTokensAndColumnsTakeTurns) {
  ExpectSameTogetherAndAlone({40, 9001}, 300);
}

TEST_P(MatMulTest, HoldsZeroHugeAndTinyGroupsOfActivations) {
  const Shape shape{20, 128};
  ThreadPool pool(1);
  const PackedMatrix w = Pack(Normal(shape.rows * shape.cols, 0.05F, 5), shape, pool);
  std::vector<float> x(static_cast<size_t>(shape.cols), 0.0F);
  std::vector<float> y(static_cast<size_t>(shape.rows), 1.0F);
  MatMul(w, x.data(), 1, y.data(), pool);
  for (float value : y) EXPECT_EQ(value, 0.0F);
  for (float scale : {1e30F, 1e-30F, 1e-39F}) {
    for (int64_t c = 0; c < shape.cols; ++c) x[c] = scale * static_cast<float>(c % 7 - 3);
    MatMul(w, x.data(), 1, y.data(), pool);
    std::vector<float> row(static_cast<size_t>(shape.cols));
    for (int64_t r = 0; r < shape.rows; ++r) {
      w.Row(r, row);
      double expected = 0;
      for (int64_t c = 0; c < shape.cols; ++c) expected += double{x[c]} * row[c];
      ASSERT_TRUE(std::isfinite(y[r]));
      EXPECT_NEAR(y[r], expected, 0.05 * std::abs(scale) + 1e-35) << scale;
    }
  }
}

TEST_P(MatMulTest, NonFiniteActivationsMakeTheirRowAloneNonFinite) {
  const Shape shape{33, 96};
  ThreadPool pool(2);
  const PackedMatrix w = Pack(Normal(shape.rows * shape.cols, 0.05F, 5), shape, pool);
  for (float bad : {INFINITY, -INFINITY, NAN}) {
    auto x = Normal(3 * shape.cols, 1.0F, 6);
    std::vector<float> y(static_cast<size_t>(3 * shape.rows)), clean(y.size());
    MatMul(w, x.data(), 3, clean.data(), pool);
    x[shape.cols + 40] = bad;
    MatMul(w, x.data(), 3, y.data(), pool);
    for (int64_t r = 0; r < shape.rows; ++r) {
      EXPECT_EQ(y[r], clean[r]);
      EXPECT_FALSE(std::isfinite(y[shape.rows + r]));
      EXPECT_EQ(y[2 * shape.rows + r], clean[2 * shape.rows + r]);
    }
  }
}

TEST_P(MatMulTest, NoTokensIsNoWork) {
  ThreadPool pool(2);
  const PackedMatrix w = Pack(Normal(4 * 4, 1.0F, 5), {4, 4}, pool);
  float y = 3.0F;
  MatMul(w, nullptr, 0, &y, pool);
  EXPECT_EQ(y, 3.0F);
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return std::string(IsaName(info.param.isa)) + "_" + WeightFormatName(info.param.format);
}

INSTANTIATE_TEST_SUITE_P(EveryFormatAndInstructionSet, MatMulTest, testing::ValuesIn(AllCases()),
                         CaseName);

}  // namespace
}  // namespace lfm2
