// float32 and bfloat16 weights with AVX-512: one fused multiply-add of 16 rows per column. bfloat16
// is widened with a shift for the even column of a pair and a mask for the odd one.
#include <immintrin.h>

#include "model/kernels/matmul/avx512_float_kernel.h"

namespace lfm2 {
namespace {

template <int kParts_>
struct ColumnWeights {
  using Activation = float;
  static constexpr int kParts = kParts_;
  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, float* to) {
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t t = 0; t < tokens; ++t) to[c * tokens + t] = x[t * cols + c];
    }
    const int64_t all = steps * kFloatRegisters * kParts * tokens;
    for (int64_t i = cols * tokens; i < all; ++i) to[i] = 0.0F;
  }
  static __m512 MultiplyAdd(__m512i w, const float* a, __m512 sum) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_set1_ps(*a), sum);
  }
};

struct F32Weights : ColumnWeights<1> {
  static __m512i Part(__m512i w, int) { return w; }
};

struct BF16Weights : ColumnWeights<2> {
  static __m512i Part(__m512i w, int part) {
    const __m512i odd = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
    return part == 0 ? _mm512_slli_epi32(w, 16) : _mm512_and_si512(w, odd);
  }
};

}  // namespace

const PanelKernel* Avx512F32Kernel(int streams) {
  return KernelOfStreams<Avx512FloatKernel<F32Weights, 1>, Avx512FloatKernel<F32Weights, 2>>(
      streams);
}

const PanelKernel* Avx512BF16Kernel(int streams) {
  return KernelOfStreams<Avx512FloatKernel<BF16Weights, 1>, Avx512FloatKernel<BF16Weights, 2>>(
      streams);
}

}  // namespace lfm2
