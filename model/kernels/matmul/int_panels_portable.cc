// int8 and int4 weights, for any machine: the plain twin of the kernels for AVX2 and AVX-512.
#include <bit>
#include <cmath>
#include <cstring>

#include "model/formats/dequantize.h"
#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {
namespace {

constexpr int kRows = 16;
constexpr int kGroup = 32;
constexpr int kQuads = 8;  // of columns in a group

// A tile's activations, group by group: [8 quads][T] x 4 int8, [T] int32 start, [T] float32 scale.
// The start is the negated contribution of the weights' offset to the integer sum.
constexpr int64_t kTokenGroupBytes = kGroup + 2 * 4;

float LargestMagnitude(const float* x, int64_t n) {
  uint32_t largest = 0;  // as bits, so that infinities and NaNs are the largest
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffU;
    if (magnitude > largest) largest = magnitude;
  }
  return std::bit_cast<float>(largest);
}

// To nearest even, as the vector instructions do; |x| <= 127.
int RoundToEven(float x) {
  return std::bit_cast<int>(x + 12582912.0F) - std::bit_cast<int>(12582912.0F);
}

// x: n values of a group, n <= 32; what is missing counts as zero.
void PackGroup(const float* x, int64_t n, int64_t token, int64_t tokens, int offset,
               std::byte* group) {
  const float largest = LargestMagnitude(x, n);
  const bool finite = std::isfinite(largest);
  const bool zero = !(largest >= 1e-35F) || !finite;
  const float inverse = zero ? 0.0F : 127.0F / largest;
  const float scale = !finite ? std::nanf("") : zero ? 0.0F : largest / 127.0F;
  int sum = 0;
  for (int64_t c = 0; c < kGroup; ++c) {
    const int q = c < n && !zero ? RoundToEven(x[c] * inverse) : 0;
    sum += q;
    group[(c / 4 * tokens + token) * 4 + c % 4] = std::byte(static_cast<int8_t>(q));
  }
  const int start = -offset * sum;
  std::byte* const starts = group + tokens * kGroup;
  std::memcpy(starts + token * 4, &start, 4);
  std::memcpy(starts + (tokens + token) * 4, &scale, 4);
}

template <int kOffset>
void PackGroups(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
  for (int64_t g = 0; g < 2 * steps; ++g) {
    const int64_t left = cols - g * kGroup;
    for (int64_t token = 0; token < tokens; ++token) {
      PackGroup(x + token * cols + (left > 0 ? g * kGroup : 0),
                left < 0        ? 0
                : left < kGroup ? left
                                : kGroup,
                token, tokens, kOffset, tile + g * tokens * kTokenGroupBytes);
    }
  }
}

struct Int8Weights {
  static constexpr int kOffset = 128;
  static constexpr int64_t kStepBytes = kInt8StepBytes;
  static constexpr int64_t kGroupBytes = 512;
  // Columns 4 * quad .. 4 * quad + 3 of all rows.
  static void Load(const std::byte* group, int quad, uint8_t* w) {
    std::memcpy(w, group + quad * 64, 64);
  }
};

struct Int4Weights {
  static constexpr int kOffset = 8;
  static constexpr int64_t kStepBytes = kInt4StepBytes;
  static constexpr int64_t kGroupBytes = 256;
  static void Load(const std::byte* group, int quad, uint8_t* w) {
    std::memcpy(w, group + quad % 4 * 64, 64);
    for (int i = 0; i < 64; ++i) w[i] = quad < 4 ? w[i] & 15 : w[i] >> 4;
  }
};

template <typename Weights>
struct PortableIntKernel {
  static constexpr int kMaxTokens = 4;
  static constexpr int64_t kAheadBytes = 0;
  static constexpr int64_t kStepBytes = Weights::kStepBytes;
  static constexpr int64_t kTokenStepBytes = 2 * kTokenGroupBytes;
  static constexpr int64_t PanelsAtOnce(int64_t) { return 1; }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    PackGroups<Weights::kOffset>(x, cols, tokens, steps, tile);
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    float sums[T][kRows] = {};
    for (int t = 0; t < T && tile.resume; ++t) {
      for (int64_t r = 0; r < tile.rows; ++r) sums[t][r] = tile.y[t * tile.y_row + r];
    }
    for (int64_t g = 0; g < 2 * tile.steps; ++g) {
      const std::byte* const step = tile.weights + g / 2 * kStepBytes;
      AddGroup<T>(step + kScaleBytes + g % 2 * Weights::kGroupBytes, step + g % 2 * 32,
                  tile.activations + g * T * kTokenGroupBytes, sums);
    }
    for (int t = 0; t < T; ++t) {
      for (int64_t r = 0; r < tile.rows; ++r) tile.y[t * tile.y_row + r] = sums[t][r];
    }
  }

  template <int T>
  static void AddGroup(const std::byte* weights, const std::byte* scales,
                       const std::byte* activations, float (*sums)[kRows]) {
    int32_t starts[T];
    float token_scales[T];
    std::memcpy(starts, activations + T * kGroup, sizeof(starts));
    std::memcpy(token_scales, activations + T * kGroup + sizeof(starts), sizeof(token_scales));
    int32_t dots[T][kRows];
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < kRows; ++r) dots[t][r] = starts[t];
    }
    for (int quad = 0; quad < kQuads; ++quad) {
      uint8_t w[64];
      Weights::Load(weights, quad, w);
      for (int t = 0; t < T; ++t) {
        int8_t a[4];
        std::memcpy(a, activations + (quad * T + t) * 4, 4);
        for (int r = 0; r < kRows; ++r) {
          dots[t][r] +=
              w[r * 4] * a[0] + w[r * 4 + 1] * a[1] + w[r * 4 + 2] * a[2] + w[r * 4 + 3] * a[3];
        }
      }
    }
    float row_scales[kRows];
    for (int r = 0; r < kRows; ++r) {
      uint16_t half = 0;
      std::memcpy(&half, scales + r * 2, 2);
      row_scales[r] = HalfToFloat(half);
    }
    for (int t = 0; t < T; ++t) {
      for (int r = 0; r < kRows; ++r) {
        sums[t][r] += static_cast<float>(dots[t][r]) * (row_scales[r] * token_scales[t]);
      }
    }
  }
};

}  // namespace

const PanelKernel* PortableInt8Kernel(int) {
  static constexpr PanelKernel kKernel = MakePanelKernel<PortableIntKernel<Int8Weights>>();
  return &kKernel;
}

const PanelKernel* PortableInt4Kernel(int) {
  static constexpr PanelKernel kKernel = MakePanelKernel<PortableIntKernel<Int4Weights>>();
  return &kKernel;
}

}  // namespace lfm2
