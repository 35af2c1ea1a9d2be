// Decode attention over blocks against softmax in float64.
#include "model/cuda/attend_body.h"

#include <gtest/gtest.h>

#include "tests/model/cuda/blocks.h"

namespace lfm2 {
namespace {

struct Heads {
  int heads, kv_heads, head_dim;
};

class Attend : public testing::TestWithParam<int> {
 protected:
  // out [rows][heads][head_dim]
  Values Run(const Heads& h, Blocks& blocks, const Values& q, int q_stride,
             const std::vector<int32_t>& positions, int parts) {
    const auto rows = static_cast<int>(positions.size());
    const auto all = static_cast<size_t>(int64_t{rows} * h.heads * parts);
    std::vector<float> mixed(all * static_cast<size_t>(h.head_dim), NAN), largest(all, NAN),
        sum(all, NAN);
    Values out(GetParam(), int64_t{rows} * h.heads * h.head_dim);
    const Lfm2CudaAttend args{
        GetParam(),  rows,         h.heads,        h.kv_heads, h.head_dim,
        q_stride,    parts,        Scale(h),       q.data(),   positions.data(),
        blocks.kv(), mixed.data(), largest.data(), sum.data(), out.data()};
    EXPECT_EQ(HostCudaFunctions().attend(nullptr, &args), 0);
    return out;
  }
  static float Scale(const Heads& h) { return 1 / std::sqrt(static_cast<float>(h.head_dim)); }

  static std::vector<double> Expected(const Heads& h, const Blocks& blocks, const Values& q,
                                      int64_t q_begin, int row, int head, int keys) {
    const int kv_head = head / (h.heads / h.kv_heads);
    std::vector<double> weights, out(static_cast<size_t>(h.head_dim), 0.0);
    double highest = -INFINITY, total = 0;
    for (int key = 0; key < keys; ++key) {
      double dot = 0;
      for (int i = 0; i < h.head_dim; ++i) dot += q[q_begin + i] * blocks.Key(row, key, kv_head, i);
      weights.push_back(dot * Scale(h));
      highest = std::max(highest, weights.back());
    }
    for (double& weight : weights) total += weight = std::exp(weight - highest);
    for (int key = 0; key < keys; ++key) {
      for (int i = 0; i < h.head_dim; ++i) {
        out[static_cast<size_t>(i)] +=
            weights[static_cast<size_t>(key)] / total * blocks.Value(row, key, kv_head, i);
      }
    }
    return out;
  }

  std::mt19937_64 random_{13};
};

TEST_P(Attend, IsSoftmaxAttentionForOddShapesGroupsAndDepths) {
  for (const Heads& h : {Heads{4, 4, 64}, Heads{4, 2, 64}, Heads{9, 3, 10}, Heads{8, 2, 32},
                         Heads{7, 1, 18}, Heads{12, 2, 6}, Heads{2, 1, 256}, Heads{1, 1, 2}}) {
    const std::vector<int32_t> positions = {0, 30, 31, 32, -1, 255, 256, 600};
    Blocks blocks(GetParam(), static_cast<int>(positions.size()), 608, h.kv_heads, h.head_dim,
                  random_);
    blocks.ClearPadding(h.head_dim);
    const int q_stride = (h.heads + 2 * h.kv_heads) * h.head_dim;
    const Values q =
        Values::Normal(GetParam(), static_cast<int64_t>(positions.size()) * q_stride, random_, 2.0);
    const Values out = Run(h, blocks, q, q_stride, positions, 4);
    for (int row = 0; row < static_cast<int>(positions.size()); ++row) {
      const int keys = positions[static_cast<size_t>(row)] + 1;
      for (int head = 0; head < h.heads; ++head) {
        const std::vector<double> expected = Expected(
            h, blocks, q, int64_t{row} * q_stride + int64_t{head} * h.head_dim, row, head, keys);
        for (int i = 0; i < h.head_dim; ++i) {
          const double value = out[(int64_t{row} * h.heads + head) * h.head_dim + i];
          if (keys == 0) {
            ASSERT_EQ(value, 0);
          } else {
            ASSERT_NEAR(value, expected[static_cast<size_t>(i)],
                        out.Epsilon(expected[static_cast<size_t>(i)]) + 2e-6)
                << "head_dim " << h.head_dim << " heads " << h.heads << " keys " << keys;
          }
        }
      }
    }
  }
}

TEST_P(Attend, ARowIsBitEqualAloneAndInADeeperBatch) {
  const Heads h{6, 2, 24};
  const std::vector<int32_t> positions = {300, 1500, 7};
  Blocks blocks(GetParam(), 3, 1504, h.kv_heads, h.head_dim, random_);
  const int q_stride = h.heads * h.head_dim;
  const Values q = Values::Normal(GetParam(), int64_t{3} * q_stride, random_);
  const Values together = Run(h, blocks, q, q_stride, positions, 8);
  const Values alone = Run(h, blocks, q, q_stride, {300}, 2);
  for (int64_t i = 0; i < alone.size(); ++i) ASSERT_EQ(alone[i], together[i]);
}

TEST_P(Attend, ScoresFarFromZeroStayFinite) {
  const Heads h{2, 1, 8};
  Blocks blocks(GetParam(), 1, 512, 1, 8, random_);
  const Values q = Values::Normal(GetParam(), 16, random_, 1e4);
  const Values out = Run(h, blocks, q, 16, {511}, 2);
  for (int64_t i = 0; i < out.size(); ++i) ASSERT_TRUE(std::isfinite(out[i]));
}

INSTANTIATE_TEST_SUITE_P(EachType, Attend, testing::ValuesIn(kDtypes));

}  // namespace
}  // namespace lfm2
