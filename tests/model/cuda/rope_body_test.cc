// RoPE with the write into blocks, and the copies in and out of them, against plain loops.
#include "model/cuda/rope_body.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/model/cuda/blocks.h"

namespace lfm2 {
namespace {

class Rope : public testing::TestWithParam<int> {
 protected:
  std::mt19937_64 random_{12};
  const Lfm2CudaFunctions& f_ = HostCudaFunctions();
};

// One head in float64, rounded where the type rounds.
std::vector<double> Turned(const Values& x, int64_t begin, int64_t head_dim, const Values* norm,
                           const std::vector<float>& frequencies, int position) {
  const auto round = [&](double value) { return RoundTo(x.dtype(), value); };
  std::vector<double> row(static_cast<size_t>(head_dim));
  double squares = 0;
  for (int64_t i = 0; i < head_dim; ++i) row[static_cast<size_t>(i)] = x[begin + i];
  for (const double value : row) squares += value * value;
  if (norm != nullptr) {
    for (int64_t i = 0; i < head_dim; ++i) {
      double& value = row[static_cast<size_t>(i)];
      value = round(round(value / std::sqrt(squares / head_dim + 1e-5)) * (*norm)[i]);
    }
  }
  std::vector<double> out = row;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float angle = static_cast<float>(position) * frequencies[static_cast<size_t>(i)];
    const double c = round(std::cos(double{angle})), s = round(std::sin(double{angle}));
    const double a = row[static_cast<size_t>(i)], b = row[static_cast<size_t>(head_dim / 2 + i)];
    out[static_cast<size_t>(i)] = a * c - b * s;
    out[static_cast<size_t>(head_dim / 2 + i)] = b * c + a * s;
  }
  return out;
}

TEST_P(Rope, TurnsQueriesAndPutsKeysAndValuesIntoTheirBlocks) {
  struct Case {
    int heads, kv_heads, head_dim;
    bool norm;
  };
  for (const Case& c : {Case{4, 2, 64, true}, Case{3, 1, 6, true}, Case{9, 3, 10, false},
                        Case{2, 2, 128, true}, Case{1, 1, 2, false}, Case{5, 5, 80, true}}) {
    const int positions[] = {0, 31, -1, 32, 777};
    const int rows = 5, all = c.heads + 2 * c.kv_heads;
    Blocks blocks(GetParam(), rows, 800, c.kv_heads, c.head_dim, random_);
    const Values keys = blocks.keys(), values = blocks.values();
    const Values before = Values::Normal(GetParam(), int64_t{rows} * all * c.head_dim, random_);
    const Values q_norm = Values::Normal(GetParam(), c.head_dim, random_);
    const Values k_norm = Values::Normal(GetParam(), c.head_dim, random_);
    std::vector<float> frequencies(static_cast<size_t>(c.head_dim / 2));
    for (int i = 0; i < c.head_dim / 2; ++i) {
      frequencies[static_cast<size_t>(i)] =
          static_cast<float>(std::pow(1e4, -2.0 * i / c.head_dim));
    }
    Values qkv = before;
    const Lfm2CudaRope args{GetParam(),
                            rows,
                            c.heads,
                            c.kv_heads,
                            c.head_dim,
                            1e-5F,
                            c.norm ? q_norm.data() : nullptr,
                            c.norm ? k_norm.data() : nullptr,
                            frequencies.data(),
                            positions,
                            qkv.data(),
                            blocks.kv()};
    ASSERT_EQ(f_.rope(nullptr, &args), 0);
    std::set<int64_t> written_keys, written_values;
    for (int row = 0; row < rows; ++row) {
      const int position = positions[row];
      for (int head = 0; head < all; ++head) {
        const int64_t begin = (int64_t{row} * all + head) * c.head_dim;
        const bool is_q = head < c.heads, is_v = head >= c.heads + c.kv_heads;
        const std::vector<double> turned =
            Turned(before, begin, c.head_dim, c.norm ? (is_q ? &q_norm : &k_norm) : nullptr,
                   frequencies, std::max(0, position));
        for (int i = 0; i < blocks.padded(); ++i) {
          const double wanted = i < c.head_dim ? turned[static_cast<size_t>(i)] : 0.0;
          if (is_q || position < 0) {
            if (i >= c.head_dim) continue;
            if (position < 0) {
              ASSERT_EQ(qkv[begin + i], before[begin + i]);
            } else {
              ASSERT_NEAR(qkv[begin + i], wanted, 3 * qkv.Epsilon(std::abs(wanted) + 1));
            }
          } else if (is_v) {
            const int kv_head = head - c.heads - c.kv_heads;
            ASSERT_EQ(blocks.Value(row, position, kv_head, i),
                      i < c.head_dim ? before[begin + i] : 0.0);
            written_values.insert(blocks.ValueIndex(row, position, kv_head, i));
          } else {
            ASSERT_NEAR(blocks.Key(row, position, head - c.heads, i), wanted,
                        3 * qkv.Epsilon(std::abs(wanted) + 1))
                << c.head_dim;
            written_keys.insert(blocks.KeyIndex(row, position, head - c.heads, i));
          }
        }
      }
    }
    for (int64_t i = 0; i < keys.size(); ++i) {
      if (written_keys.count(i) == 0) {
        ASSERT_EQ(blocks.keys()[i], keys[i]);
      }
      if (written_values.count(i) == 0) {
        ASSERT_EQ(blocks.values()[i], values[i]);
      }
    }
  }
}

TEST_P(Rope, WhatIsStoredInBlocksIsLoadedAgain) {
  for (const int head_dim : {2, 10, 64}) {
    const int kv_heads = 3, tokens = 70, first = 29;
    Blocks blocks(GetParam(), 2, first + tokens, kv_heads, head_dim, random_);
    Values k = Values::Normal(GetParam(), int64_t{tokens} * kv_heads * head_dim, random_);
    Values v = Values::Normal(GetParam(), k.size(), random_);
    Lfm2CudaKvCopy args{GetParam(), tokens,   first,    kv_heads,
                        head_dim,   k.data(), v.data(), blocks.kv(1)};
    ASSERT_EQ(f_.kv_store(nullptr, &args), 0);
    Values again_k(GetParam(), k.size()), again_v(GetParam(), k.size());
    args.k = again_k.data();
    args.v = again_v.data();
    ASSERT_EQ(f_.kv_load(nullptr, &args), 0);
    for (int64_t i = 0; i < k.size(); ++i) {
      ASSERT_EQ(again_k[i], k[i]);
      ASSERT_EQ(again_v[i], v[i]);
      const auto token = static_cast<int>(i / head_dim / kv_heads) + first;
      const auto head = static_cast<int>(i / head_dim % kv_heads);
      ASSERT_EQ(blocks.Key(1, token, head, static_cast<int>(i % head_dim)), k[i]);
      ASSERT_EQ(blocks.Value(1, token, head, static_cast<int>(i % head_dim)), v[i]);
    }
    for (int channel = head_dim; channel < blocks.padded(); ++channel) {
      ASSERT_EQ(blocks.Key(1, first, 0, channel), 0);
      ASSERT_EQ(blocks.Value(1, first, 0, channel), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EachType, Rope, testing::ValuesIn(kDtypes));

}  // namespace
}  // namespace lfm2
