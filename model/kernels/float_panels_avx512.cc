// float32 and bfloat16 weights with AVX-512: one fused multiply-add of 16 rows a column, one
// VDPBF16PS of 16 rows a pair of columns.
#include <immintrin.h>

#include "model/kernels/avx512_lanes.h"
#include "model/kernels/panel_loop.h"

namespace lfm2 {
namespace {

constexpr int kRegisters = 4;  // of weights in a step

struct F32Weights {
  using Activation = float;  // of one token to one register of weights
  // [columns][tokens]
  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, float* to) {
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t t = 0; t < tokens; ++t) to[c * tokens + t] = x[t * cols + c];
    }
    for (int64_t i = cols * tokens; i < steps * kRegisters * tokens; ++i) to[i] = 0.0F;
  }
  static __m512 MultiplyAdd(__m512i w, const float* a, __m512 sum) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_set1_ps(*a), sum);
  }
};

struct BF16Weights {
  using Activation = int32_t;  // two bfloat16
  // [pairs of columns][tokens]
  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, int32_t* to) {
    for (int64_t pair = 0; pair < steps * kRegisters; pair += 8) {
      const int64_t pairs = steps * kRegisters - pair < 8 ? steps * kRegisters - pair : 8;
      const int64_t left = cols - 2 * pair;
      const __mmask16 exist = FirstOf16(left);
      for (int64_t t = 0; t < tokens; ++t) {
        const float* const from = x + t * cols + (left > 0 ? 2 * pair : 0);
        alignas(32) int32_t rounded[8];
        const __m256bh values = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(exist, from));
        __builtin_memcpy(rounded, &values, sizeof(rounded));
        for (int64_t i = 0; i < pairs; ++i) to[(pair + i) * tokens + t] = rounded[i];
      }
    }
  }
  static __m512 MultiplyAdd(__m512i w, const int32_t* a, __m512 sum) {
    const __m512i columns = _mm512_set1_epi32(*a);
    __m512bh left, right;
    __builtin_memcpy(&left, &w, sizeof(left));
    __builtin_memcpy(&right, &columns, sizeof(right));
    return _mm512_dpbf16_ps(sum, left, right);
  }
};

template <typename Weights>
struct Avx512FloatKernel {
  using Activation = typename Weights::Activation;
  static constexpr int kMaxTokens = 12;
  static constexpr int64_t kStepBytes = kFloatStepBytes;
  static constexpr int64_t kTokenStepBytes = kRegisters * sizeof(Activation);
  // Few tokens are bound by memory, which is read fastest as one stream.
  static constexpr int64_t PanelsAtOnce(int64_t tokens) { return tokens <= 4 ? 1 : 2; }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    Weights::Pack(x, cols, tokens, steps, reinterpret_cast<Activation*>(tile));
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    __m512 sums[T][P];
    Unrolled<T>([&]<int t>() __attribute__((always_inline)) {
      Unrolled<P>([&]<int p>() __attribute__((always_inline)) {
        sums[t][p] = tile.resume ? _mm512_maskz_loadu_ps(FirstOf16(tile.rows - p * 16),
                                                         tile.y + t * tile.y_row + p * 16)
                                 : _mm512_setzero_ps();
      });
    });
    const std::byte* weights = tile.weights;
    const std::byte* next = tile.next;
    const std::byte* const end = weights + tile.steps * kStepBytes;
    const int64_t panel_bytes = tile.panel_bytes;
    const Activation* a = reinterpret_cast<const Activation*>(tile.activations);
    for (; weights != end; weights += kStepBytes, a += kRegisters * T) {
      // Many tokens are bound by arithmetic, and memory has time to bring what comes next. Few are
      // bound by memory, where fetching by hand only disturbs the one stream.
      if (P > 1 && next != nullptr) {
        FetchStep<P, kStepBytes>(next, panel_bytes);
        next += kStepBytes;
      }
      Unrolled<kRegisters>([&]<int i>() __attribute__((always_inline)) {
        __m512i w[P];
        Unrolled<P>([&]<int p>() __attribute__((always_inline)) {
          w[p] = _mm512_load_si512(weights + p * panel_bytes + i * 64);
        });
        Unrolled<T>([&]<int t>() __attribute__((always_inline)) {
          Unrolled<P>([&]<int p>() __attribute__((always_inline)) {
            sums[t][p] = Weights::MultiplyAdd(w[p], a + i * T + t, sums[t][p]);
          });
        });
      });
    }
    Unrolled<T>([&]<int t>() __attribute__((always_inline)) {
      Unrolled<P>([&]<int p>() __attribute__((always_inline)) {
        _mm512_mask_storeu_ps(tile.y + t * tile.y_row + p * 16, FirstOf16(tile.rows - p * 16),
                              sums[t][p]);
      });
    });
  }
};

}  // namespace

const PanelKernel* Avx512F32Kernel() {
  static constexpr PanelKernel kKernel = MakePanelKernel<Avx512FloatKernel<F32Weights>>();
  return &kKernel;
}

const PanelKernel* Avx512BF16Kernel() {
  static constexpr PanelKernel kKernel = MakePanelKernel<Avx512FloatKernel<BF16Weights>>();
  return &kKernel;
}

}  // namespace lfm2
