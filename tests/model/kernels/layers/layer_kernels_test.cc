// Each kernel of each instruction set that this machine has against the formula in float64.
#include "model/kernels/layers/layer_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace lfm2 {
namespace {

class LayerKernelsOf : public testing::TestWithParam<Isa> {
 protected:
  std::vector<float> Random(int64_t n, double scale = 1.0) {
    std::normal_distribution<double> normal(0, scale);
    std::vector<float> out;
    for (int64_t i = 0; i < n; ++i) out.push_back(static_cast<float>(normal(random_)));
    return out;
  }
  std::mt19937_64 random_{7};
  const LayerKernels& kernels_ = LayerKernelsFor(GetParam());
};

double At(const std::vector<float>& v, int64_t i) { return v[static_cast<size_t>(i)]; }
double Silu(double x) { return x / (1 + std::exp(-x)); }
float BFloat16(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, 4);
  bits = (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
  std::memcpy(&x, &bits, 4);
  return x;
}

TEST_P(LayerKernelsOf, RmsNormIsTheFormulaForEveryLength) {
  for (int64_t d = 1; d < 70; ++d) {
    const std::vector<float> x = Random(d), weight = Random(d);
    std::vector<float> y(static_cast<size_t>(d) + 1, 99.0F);
    kernels_.rms_norm(x.data(), weight.data(), d, 1e-5F, y.data());
    double squares = 0;
    for (const float value : x) squares += double{value} * double{value};
    for (int64_t i = 0; i < d; ++i) {
      const double expected =
          At(x, i) / std::sqrt(squares / static_cast<double>(d) + 1e-5) * At(weight, i);
      EXPECT_NEAR(At(y, i), expected, 2e-6 * (1 + std::abs(expected))) << d;
    }
    EXPECT_EQ(y.back(), 99.0F) << "wrote past the end of " << d;
  }
}

TEST_P(LayerKernelsOf, RopeTurnsPairsByTheirAngle) {
  for (int64_t half = 1; half < 40; ++half) {
    const std::vector<float> angle = Random(half), x = Random(2 * half);
    std::vector<float> cos, sin, y = x;
    for (const float a : angle) {
      cos.push_back(std::cos(a));
      sin.push_back(std::sin(a));
    }
    kernels_.rope(cos.data(), sin.data(), 2 * half, 0.25F, y.data());
    for (int64_t i = 0; i < half; ++i) {
      const double a = At(x, i), b = At(x, half + i), c = At(cos, i), s = At(sin, i);
      EXPECT_NEAR(At(y, i), (a * c - b * s) / 4, 1e-6);
      EXPECT_NEAR(At(y, half + i), (b * c + a * s) / 4, 1e-6);
    }
  }
}

TEST_P(LayerKernelsOf, SiluMulIsTheFormulaFromOneEndOfFloatToTheOther) {
  std::vector<float> gate = Random(50, 5.0);
  for (const float edge : {0.0F, -200.0F, 200.0F, -88.0F, 88.0F, 1e-30F, -1e30F, 1e30F}) {
    gate.push_back(edge);
  }
  const auto n = static_cast<int64_t>(gate.size());
  const std::vector<float> up = Random(n);
  std::vector<float> y(gate.size());
  kernels_.silu_mul(gate.data(), up.data(), n, y.data());
  for (int64_t i = 0; i < n; ++i) {
    const double expected = Silu(At(gate, i)) * At(up, i);
    EXPECT_NEAR(At(y, i), expected, 1e-30 + 1e-6 * std::abs(expected)) << At(gate, i);
  }
  const float nan = std::nanf("");
  gate.assign(20, nan);
  kernels_.silu_mul(gate.data(), up.data(), 20, y.data());
  for (int64_t i = 0; i < 20; ++i) EXPECT_TRUE(std::isnan(y[static_cast<size_t>(i)]));
}

TEST_P(LayerKernelsOf, ShortConvIsTheFormulaAndCarriesItsHistory) {
  const int64_t d = 37, taps = 4, tokens = 9;
  const std::vector<float> bcx = Random(tokens * 3 * d), weight = Random(taps * d),
                           bias = Random(d);
  const std::vector<float> history = Random((taps - 1) * d);
  std::vector<float> kept = history, y(static_cast<size_t>(tokens * d)), plain(y.size());
  ShortConvRun run;
  run.bcx = bcx.data();
  run.tokens = tokens;
  run.d = d;
  run.end = d;
  run.taps = taps;
  run.weight = weight.data();
  run.bias = bias.data();
  run.history = kept.data();
  run.y = y.data();
  run.convolved = plain.data();
  kernels_.short_conv(run);
  const auto input = [&](int64_t t, int64_t c) {  // B * x, or what came before
    if (t < 0) return At(history, (t + taps - 1) * d + c);
    return At(bcx, t * 3 * d + c) * At(bcx, t * 3 * d + 2 * d + c);
  };
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < d; ++c) {
      double sum = At(bias, c);
      for (int64_t j = 0; j < taps; ++j) sum += At(weight, j * d + c) * input(t - taps + 1 + j, c);
      EXPECT_NEAR(At(plain, t * d + c), sum, 1e-5);
      EXPECT_NEAR(At(y, t * d + c), sum * At(bcx, t * 3 * d + d + c), 1e-5);
    }
  }
  for (int64_t j = 0; j < taps - 1; ++j) {
    for (int64_t c = 0; c < d; ++c) {
      EXPECT_NEAR(At(kept, j * d + c), input(tokens - taps + 1 + j, c), 1e-6);
    }
  }
}

TEST_P(LayerKernelsOf, AConvolutionOfOneTapHasNoHistory) {
  const int64_t d = 5;
  const std::vector<float> bcx = Random(3 * d), weight = Random(d);
  std::vector<float> y(static_cast<size_t>(d));
  ShortConvRun run;
  run.bcx = bcx.data();
  run.tokens = 1;
  run.d = run.end = d;
  run.taps = 1;
  run.weight = weight.data();
  run.y = y.data();
  kernels_.short_conv(run);
  for (int64_t c = 0; c < d; ++c) {
    EXPECT_NEAR(At(y, c), At(bcx, c) * At(bcx, 2 * d + c) * At(weight, c) * At(bcx, d + c), 1e-6);
  }
}

TEST_P(LayerKernelsOf, SsmScanIsTheRecurrenceAndItsGate) {
  const int64_t d = 21, states = 6, tokens = 12;
  const std::vector<float> uz = Random(tokens * 2 * d), input = Random(states * d, 0.3);
  std::vector<float> decay = Random(states * d, 0.3);
  for (float& value : decay) value = std::exp(-std::abs(value));
  const std::vector<float> output = Random(states * d), skip = Random(d);
  std::vector<float> state = Random(states * d), y(static_cast<size_t>(tokens * d)), plain = y;
  std::vector<double> expected(state.begin(), state.end());
  SsmRun run;
  run.uz = uz.data();
  run.tokens = tokens;
  run.d = run.end = d;
  run.states = states;
  run.decay = decay.data();
  run.input = input.data();
  run.output = output.data();
  run.skip = skip.data();
  run.state = state.data();
  run.y = y.data();
  run.scanned = plain.data();
  kernels_.ssm_scan(run);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < d; ++c) {
      const double u = At(uz, t * 2 * d + c);
      double sum = At(skip, c) * u;
      for (int64_t n = 0; n < states; ++n) {
        double& s = expected[static_cast<size_t>(n * d + c)];
        s = At(decay, n * d + c) * s + At(input, n * d + c) * u;
        sum += At(output, n * d + c) * s;
      }
      EXPECT_NEAR(At(plain, t * d + c), sum, 1e-4);
      EXPECT_NEAR(At(y, t * d + c), sum * Silu(At(uz, t * 2 * d + d + c)), 1e-4);
    }
  }
}

// Keys and values of one head in blocks, and queries of it.
struct Attended {
  int64_t head_dim, keys;
  std::vector<float> k, v, q;
  std::vector<std::vector<float>> memory;  // of each block
  std::vector<const void*> tiles;
};

class Attention : public LayerKernelsOf {
 protected:
  Attended Make(int64_t head_dim, int64_t keys, int64_t rows, bool half) {
    Attended out{head_dim,
                 keys,
                 Random(keys * head_dim),
                 Random(keys * head_dim),
                 Random(rows * head_dim, 0.3),
                 {},
                 {}};
    for (int64_t at = 0; at < keys; at += kKvBlockTokens) {
      // Slots that nobody wrote hold NaN: they must not matter.
      out.memory.emplace_back(static_cast<size_t>(KvTileElements(head_dim)), std::nanf(""));
    }
    for (auto& block : out.memory) out.tiles.push_back(block.data());
    for (int64_t t = 0; t < keys; ++t) {
      void* tile = out.memory[static_cast<size_t>(t / kKvBlockTokens)].data();
      (half ? kernels_.store_bf16 : kernels_.store_f32)(&out.k[static_cast<size_t>(t * head_dim)],
                                                        &out.v[static_cast<size_t>(t * head_dim)],
                                                        head_dim, t % kKvBlockTokens, tile);
    }
    if (half) {
      for (float& value : out.k) value = BFloat16(value);
      for (float& value : out.v) value = BFloat16(value);
    }
    return out;
  }

  // softmax(q k) v over the first `keys` keys of row r.
  std::vector<double> Expected(const Attended& a, int64_t r, int64_t keys) {
    std::vector<double> scores, out(static_cast<size_t>(a.head_dim));
    double largest = -1e300, sum = 0;
    for (int64_t t = 0; t < keys; ++t) {
      double score = 0;
      for (int64_t i = 0; i < a.head_dim; ++i) {
        score += At(a.q, r * a.head_dim + i) * At(a.k, t * a.head_dim + i);
      }
      scores.push_back(score);
      largest = std::max(largest, score);
    }
    for (double& score : scores) sum += score = std::exp(score - largest);
    for (int64_t t = 0; t < keys; ++t) {
      for (int64_t i = 0; i < a.head_dim; ++i) {
        out[static_cast<size_t>(i)] +=
            scores[static_cast<size_t>(t)] / sum * At(a.v, t * a.head_dim + i);
      }
    }
    return out;
  }

  AttendPart PartOf(const Attended& a, std::vector<float>& scores,
                    std::vector<std::vector<float>>& mixed, std::vector<int64_t> keys) {
    AttendPart part;
    part.tiles = a.tiles.data();
    part.head_dim = a.head_dim;
    part.rows = static_cast<int64_t>(keys.size());
    scores.assign(static_cast<size_t>(kAttendRows * kKvPartTokens), 0.0F);
    part.scores = scores.data();
    mixed.assign(keys.size(), std::vector<float>(static_cast<size_t>(PaddedHeadDim(a.head_dim))));
    for (size_t r = 0; r < keys.size(); ++r) {
      part.q[r] = a.q.data() + static_cast<int64_t>(r) * a.head_dim;
      part.keys[r] = keys[r];
      part.mixed[r] = mixed[r].data();
    }
    return part;
  }
};

TEST_P(Attention, IsTheFormulaForAnyRowsKeysAndHeads) {
  for (const bool half : {false, true}) {
    for (const int64_t head_dim : {2, 12, 16, 64, 80, 128}) {
      for (const int64_t keys : {1, 31, 32, 33, 100, 511, 512}) {
        const Attended a = Make(head_dim, keys, 4, half);
        for (int64_t rows = 1; rows <= 4; ++rows) {
          std::vector<int64_t> seen;
          for (int64_t r = 0; r < rows; ++r) seen.push_back(std::max<int64_t>(1, keys - 3 + r));
          seen.back() = keys;
          std::vector<float> scores;
          std::vector<std::vector<float>> mixed;
          AttendPart part = PartOf(a, scores, mixed, seen);
          (half ? kernels_.attend_bf16 : kernels_.attend_f32)(part);
          for (int64_t r = 0; r < rows; ++r) {
            const std::vector<double> expected = Expected(a, r, seen[static_cast<size_t>(r)]);
            for (int64_t i = 0; i < head_dim; ++i) {
              EXPECT_NEAR(At(mixed[static_cast<size_t>(r)], i) / part.sum[r],
                          expected[static_cast<size_t>(i)], 2e-5)
                  << head_dim << " " << keys << " " << rows;
            }
          }
        }
      }
    }
  }
}

TEST_P(Attention, ARowsBitsDoNotDependOnTheOtherRows) {
  const Attended a = Make(64, 300, 4, true);
  std::vector<float> scores, alone_scores;
  std::vector<std::vector<float>> mixed, alone;
  AttendPart together = PartOf(a, scores, mixed, {1, 77, 299, 300});
  kernels_.attend_bf16(together);
  for (int64_t r = 0; r < 4; ++r) {
    AttendPart part = PartOf(a, alone_scores, alone, {together.keys[r]});
    part.q[0] = together.q[r];
    kernels_.attend_bf16(part);
    EXPECT_EQ(alone[0], mixed[static_cast<size_t>(r)]);
    EXPECT_EQ(part.sum[0], together.sum[r]);
    EXPECT_EQ(part.largest[0], together.largest[r]);
  }
}

TEST_P(Attention, PartsJoinToTheWhole) {
  const Attended a = Make(64, 200, 1, false);
  std::vector<float> scores;
  std::vector<std::vector<float>> all, next;
  AttendPart first = PartOf(a, scores, all, {96});
  kernels_.attend_f32(first);
  AttendPart second = PartOf(a, scores, next, {104});
  second.tiles += 3;
  kernels_.attend_f32(second);
  kernels_.join(next[0].data(), second.largest[0], second.sum[0], 64, all[0].data(),
                &first.largest[0], &first.sum[0]);
  const std::vector<double> expected = Expected(a, 0, 200);
  for (int64_t i = 0; i < 64; ++i) {
    EXPECT_NEAR(At(all[0], i) / first.sum[0], expected[static_cast<size_t>(i)], 1e-5);
  }
}

TEST_P(LayerKernelsOf, StoringToBf16RoundsToEvenAndKeepsNan) {
  const int64_t hd = 2;
  std::vector<uint16_t> tile(static_cast<size_t>(KvTileElements(hd)));
  const float k[] = {1.00390625F, std::nanf("")}, v[] = {1.01171875F, -INFINITY};
  kernels_.store_bf16(k, v, hd, 5, tile.data());
  EXPECT_EQ(tile[2 * 5], 0x3f80);                // 1 + 2^-8 is halfway, the even one is below
  EXPECT_GT(tile[32 + 2 * 5] & 0x7fff, 0x7f80);  // still no number
  const size_t value = static_cast<size_t>(hd * 32 + 5 * PaddedHeadDim(hd));
  EXPECT_EQ(tile[value], 0x3f82);  // halfway, the even one is above
  EXPECT_EQ(tile[value + 2], 0xff80);
}

std::vector<Isa> Runnable() {
  std::vector<Isa> out;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    if (CanRun(isa)) out.push_back(isa);
  }
  return out;
}

std::string NameOfIsa(const testing::TestParamInfo<Isa>& isa) { return IsaName(isa.param); }

INSTANTIATE_TEST_SUITE_P(Sets, LayerKernelsOf, testing::ValuesIn(Runnable()), NameOfIsa);
INSTANTIATE_TEST_SUITE_P(Sets, Attention, testing::ValuesIn(Runnable()), NameOfIsa);

}  // namespace
}  // namespace lfm2
