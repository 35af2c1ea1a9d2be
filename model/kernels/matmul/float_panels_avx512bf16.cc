// bfloat16 weights with AVX-512 BF16: one VDPBF16PS of 16 rows per pair of columns.
#include <immintrin.h>

#include "model/kernels/matmul/avx512_float_kernel.h"

namespace lfm2 {
namespace {

struct BF16Weights {
  using Activation = int32_t;  // two bfloat16
  static constexpr int kParts = 1;
  // [pairs of columns][tokens]
  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, int32_t* to) {
    for (int64_t pair = 0; pair < steps * kFloatRegisters; pair += 8) {
      const int64_t pairs = steps * kFloatRegisters - pair < 8 ? steps * kFloatRegisters - pair : 8;
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
  static __m512i Part(__m512i w, int) { return w; }
  static __m512 MultiplyAdd(__m512i w, const int32_t* a, __m512 sum) {
    const __m512i columns = _mm512_set1_epi32(*a);
    __m512bh left, right;
    __builtin_memcpy(&left, &w, sizeof(left));
    __builtin_memcpy(&right, &columns, sizeof(right));
    return _mm512_dpbf16_ps(sum, left, right);
  }
};

}  // namespace

const PanelKernel* Avx512DotBF16Kernel(int streams) {
  return KernelOfStreams<Avx512FloatKernel<BF16Weights, 1>, Avx512FloatKernel<BF16Weights, 2>>(
      streams);
}

}  // namespace lfm2
