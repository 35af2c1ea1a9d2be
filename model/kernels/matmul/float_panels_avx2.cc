// float32 and bfloat16 weights with AVX2 and FMA: 16 rows are two registers. bfloat16 is widened
// with a shift for the even column of a pair and a mask for the odd one.
#include <immintrin.h>

#include "model/kernels/matmul/avx2_lanes.h"

namespace lfm2 {
namespace {

struct F32Weights {
  static constexpr int kStepCols = 4;
  // 8 rows of a step's column.
  static __m256 Load(const std::byte* step, int col, int half) {
    return _mm256_load_ps(reinterpret_cast<const float*>(step + col * 64 + half * 32));
  }
};

struct BF16Weights {
  static constexpr int kStepCols = 8;
  static __m256 Load(const std::byte* step, int col, int half) {
    const __m256i pairs =
        _mm256_load_si256(reinterpret_cast<const __m256i*>(step + col / 2 * 64 + half * 32));
    const __m256i odd = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
    return _mm256_castsi256_ps(col % 2 == 0 ? _mm256_slli_epi32(pairs, 16)
                                            : _mm256_and_si256(pairs, odd));
  }
};

// A tile's activations are [columns][T] float32.
// kFewPanels: how many panels are computed at once for one token.
template <typename Weights, int kFewPanels>
struct Avx2FloatKernel {
  static constexpr int kMaxTokens = 6;
  static constexpr int64_t kAheadBytes = kLoneTileAhead;
  static constexpr int kStepCols = Weights::kStepCols;
  static constexpr int64_t kStepBytes = kFloatStepBytes;
  static constexpr int64_t kTokenStepBytes = kStepCols * 4;
  static constexpr int64_t PanelsAtOnce(int64_t tokens) {
    if (tokens > 1) return 1;
    return kFewPanels;
  }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    float* const to = reinterpret_cast<float*>(tile);
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t t = 0; t < tokens; ++t) to[c * tokens + t] = x[t * cols + c];
    }
    for (int64_t i = cols * tokens; i < steps * kStepCols * tokens; ++i) to[i] = 0.0F;
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    __m256 sums[T][P][kHalves];
    ForEachSum<T, P>([&](auto t, auto p, auto h) __attribute__((always_inline)) {
      sums[t][p][h] = tile.resume ? _mm256_maskload_ps(tile.y + t * tile.y_row + p * 16 + h * 8,
                                                       FirstOf8(tile.rows - p * 16 - h * 8))
                                  : _mm256_setzero_ps();
    });
    const std::byte* weights = tile.weights;
    const std::byte* next = tile.next;
    const std::byte* const end = weights + tile.steps * kStepBytes;
    const int64_t panel_bytes = tile.panel_bytes;
    const float* a = reinterpret_cast<const float*>(tile.activations);
    for (; weights != end; weights += kStepBytes, a += kStepCols * T) {
      if (next != nullptr) {
        FetchStep<P, kStepBytes>(next, panel_bytes);
        next += kStepBytes;
      }
      Unrolled<kStepCols>([&](auto c) __attribute__((always_inline)) {
        __m256 w[P][kHalves];
        ForEachSum<1, P>([&](auto, auto p, auto h) __attribute__((always_inline)) {
          w[p][h] = Weights::Load(weights + p * panel_bytes, c, h);
        });
        ForEachSum<T, P>([&](auto t, auto p, auto h) __attribute__((always_inline)) {
          sums[t][p][h] =
              _mm256_fmadd_ps(w[p][h], _mm256_broadcast_ss(a + c * T + t), sums[t][p][h]);
        });
      });
    }
    ForEachSum<T, P>([&](auto t, auto p, auto h) __attribute__((always_inline)) {
      _mm256_maskstore_ps(tile.y + t * tile.y_row + p * 16 + h * 8,
                          FirstOf8(tile.rows - p * 16 - h * 8), sums[t][p][h]);
    });
  }
};

}  // namespace

const PanelKernel* Avx2F32Kernel(int streams) {
  return KernelOfStreams<Avx2FloatKernel<F32Weights, 1>, Avx2FloatKernel<F32Weights, 2>>(streams);
}

const PanelKernel* Avx2BF16Kernel(int streams) {
  return KernelOfStreams<Avx2FloatKernel<BF16Weights, 1>, Avx2FloatKernel<BF16Weights, 2>>(streams);
}

}  // namespace lfm2
