// Shared parts of the AVX-512 and AMX kernels: masks, and rounding a group of activations to int8.
// Only for files compiled with AVX-512; each has its own copy, so that it runs nowhere else. Thread
// rule: pure functions.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace lfm2 {

// Mask of the first n of 16 lanes; empty for n < 0.
static inline __attribute__((always_inline)) __mmask16 FirstOf16(int64_t n) {
  return n <= 0 ? 0 : n >= 16 ? 0xFFFF : static_cast<__mmask16>((1U << n) - 1);
}

// One token's 32 values in four-byte quads, with their scale and start.
struct RoundedGroup {
  alignas(32) int32_t quads[8];
  int32_t sum;
  float scale;
};

// `low` and `high`: which of the 32 values exist.
static inline __attribute__((always_inline)) void RoundGroup(const float* x, __mmask16 low,
                                                             __mmask16 high, RoundedGroup* group) {
  const __m512 a = _mm512_maskz_loadu_ps(low, x);
  const __m512 b = _mm512_maskz_loadu_ps(high, x + 16);
  // As integers, so that infinities and NaNs are the largest.
  const __m512i magnitudes = _mm512_max_epi32(_mm512_castps_si512(_mm512_abs_ps(a)),
                                              _mm512_castps_si512(_mm512_abs_ps(b)));
  const int bits = _mm512_reduce_max_epi32(magnitudes);
  const float largest = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  const bool finite = bits < 0x7f800000;
  const bool zero = !finite || !(largest >= 1e-35F);
  const __m512 inverse = _mm512_set1_ps(zero ? 0.0F : 127.0F / largest);
  // A group that counts as zero may still contain infinities, so it is not multiplied.
  const __mmask16 use = zero ? 0 : 0xFFFF;
  const __m512i qa = _mm512_cvtps_epi32(_mm512_maskz_mul_ps(use, a, inverse));
  const __m512i qb = _mm512_cvtps_epi32(_mm512_maskz_mul_ps(use, b, inverse));
  const __m256i q = _mm256_set_m128i(_mm512_cvtsepi32_epi8(qb), _mm512_cvtsepi32_epi8(qa));
  _mm256_store_si256(reinterpret_cast<__m256i*>(group->quads), q);
  group->sum = _mm512_reduce_add_epi32(_mm512_add_epi32(qa, qb));
  group->scale = finite ? (zero ? 0.0F : largest / 127.0F) : __builtin_nanf("");
}

}  // namespace lfm2
