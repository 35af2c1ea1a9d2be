// The float32 vectors of all instruction sets with the same function names, so that a kernel is
// written once and compiled for each. Every function is a member of its instruction set's own type,
// so that the linker cannot use code compiled for one instruction set in another.
//
// A file compiled for AVX-512 sees Avx512Vector, one for AVX2 sees Avx2Vector, every file sees
// ScalarVector, whose loops are the plain twins of the others. Thread rule: pure functions.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lfm2 {

// Polynomial for e^r on [-ln 2 / 2, ln 2 / 2], highest power first (Cephes, S. Moshier, expf).
inline constexpr float kExpPolynomial[] = {1.9875691500e-4F, 1.3981999507e-3F, 8.3334519073e-3F,
                                           4.1665795894e-2F, 1.6666665459e-1F, 5.0000001201e-1F};
inline constexpr float kExpLowest = -87.33F, kExpHighest = 89.0F;
inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;

// Numbers are stored in groups of 32. A group of bf16 has number j beside number j + 16, so that
// one load, one shift and one mask give two vectors: LoadPair returns the vectors that begin at
// numbers `lane` and `lane` + 16 of a group, lane < 16.
inline constexpr int64_t kPairGroup = 32;
inline constexpr int64_t kPairDistance = 16;

struct ScalarVector {
  using T = float;
  static constexpr int kWidth = 1;
  static T Zero() { return 0.0F; }
  static T Set(float x) { return x; }
  static T Load(const float* p) { return *p; }
  static T Load(const uint16_t* p) { return std::bit_cast<float>(static_cast<uint32_t>(*p) << 16); }
  static T LoadPart(const float* p, int64_t) { return *p; }
  static void LoadPair(const float* group, int64_t lane, T& low, T& high) {
    low = group[lane];
    high = group[kPairDistance + lane];
  }
  static void LoadPair(const uint16_t* group, int64_t lane, T& low, T& high) {
    low = Load(group + 2 * lane);
    high = Load(group + 2 * lane + 1);
  }
  static void Store(float* p, T x) { *p = x; }
  static void StorePart(float* p, T x, int64_t) { *p = x; }
  static T Add(T a, T b) { return a + b; }
  static T Sub(T a, T b) { return a - b; }
  static T Mul(T a, T b) { return a * b; }
  static T Div(T a, T b) { return a / b; }
  static T Max(T a, T b) { return a > b ? a : b; }
  static T MulAdd(T a, T b, T c) { return a * b + c; }
  static T Exp(T x) { return std::exp(x < kExpLowest ? kExpLowest : x); }
  static float Sum(T x) { return x; }
  static float Largest(T x) { return x; }
};

#if defined(__AVX2__) && defined(__FMA__) && !defined(__AVX512F__)
struct Avx2Vector {
  using T = __m256;
  static constexpr int kWidth = 8;
  static __m256i Mask(int64_t n) {
    alignas(32) static constexpr int32_t kBits[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kBits + 8 - n));
  }
  static T Zero() { return _mm256_setzero_ps(); }
  static T Set(float x) { return _mm256_set1_ps(x); }
  static T Load(const float* p) { return _mm256_loadu_ps(p); }
  static void LoadPair(const float* group, int64_t lane, T& low, T& high) {
    low = Load(group + lane);
    high = Load(group + kPairDistance + lane);
  }
  static void LoadPair(const uint16_t* group, int64_t lane, T& low, T& high) {
    const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(group + 2 * lane));
    low = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
    high = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(-0x10000)));
  }
  // The first n of a vector, 0 < n < kWidth; the others are 0.
  static T LoadPart(const float* p, int64_t n) { return _mm256_maskload_ps(p, Mask(n)); }
  static void Store(float* p, T x) { _mm256_storeu_ps(p, x); }
  static void StorePart(float* p, T x, int64_t n) { _mm256_maskstore_ps(p, Mask(n), x); }
  static T Add(T a, T b) { return _mm256_add_ps(a, b); }
  static T Sub(T a, T b) { return _mm256_sub_ps(a, b); }
  static T Mul(T a, T b) { return _mm256_mul_ps(a, b); }
  static T Div(T a, T b) { return _mm256_div_ps(a, b); }
  static T Max(T a, T b) { return _mm256_max_ps(a, b); }
  static T MulAdd(T a, T b, T c) { return _mm256_fmadd_ps(a, b, c); }
  static T Exp(T x) {
    // min and max return the second operand for a NaN, so that a NaN stays a NaN.
    x = _mm256_max_ps(Set(kExpLowest), _mm256_min_ps(Set(kExpHighest), x));
    const T n = _mm256_round_ps(_mm256_mul_ps(x, Set(kLog2E)),
                                _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    T r = _mm256_fnmadd_ps(n, Set(kLn2High), x);
    r = _mm256_fnmadd_ps(n, Set(kLn2Low), r);
    T y = Set(kExpPolynomial[0]);
    for (int i = 1; i < 6; ++i) y = MulAdd(y, r, Set(kExpPolynomial[i]));
    y = Add(MulAdd(y, _mm256_mul_ps(r, r), r), Set(1.0F));
    const __m256i exponent =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(y, _mm256_castsi256_ps(exponent));
  }
  static float Sum(T x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float Largest(T x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }
};
#endif

#if defined(__AVX512F__)
struct Avx512Vector {
  using T = __m512;
  static constexpr int kWidth = 16;
  static __mmask16 Mask(int64_t n) { return static_cast<__mmask16>((1U << n) - 1); }
  static T Zero() { return _mm512_setzero_ps(); }
  static T Set(float x) { return _mm512_set1_ps(x); }
  static T Load(const float* p) { return _mm512_loadu_ps(p); }
  static void LoadPair(const float* group, int64_t lane, T& low, T& high) {
    low = Load(group + lane);
    high = Load(group + kPairDistance + lane);
  }
  static void LoadPair(const uint16_t* group, int64_t lane, T& low, T& high) {
    const __m512i both = _mm512_loadu_si512(group + 2 * lane);
    low = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    high = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(-0x10000)));
  }
  static T LoadPart(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(Mask(n), p); }
  static void Store(float* p, T x) { _mm512_storeu_ps(p, x); }
  static void StorePart(float* p, T x, int64_t n) { _mm512_mask_storeu_ps(p, Mask(n), x); }
  static T Add(T a, T b) { return _mm512_add_ps(a, b); }
  static T Sub(T a, T b) { return _mm512_sub_ps(a, b); }
  static T Mul(T a, T b) { return _mm512_mul_ps(a, b); }
  static T Div(T a, T b) { return _mm512_div_ps(a, b); }
  static T Max(T a, T b) { return _mm512_max_ps(a, b); }
  static T MulAdd(T a, T b, T c) { return _mm512_fmadd_ps(a, b, c); }
  static T Exp(T x) {
    x = _mm512_max_ps(Set(kExpLowest), _mm512_min_ps(Set(kExpHighest), x));
    const T n = _mm512_roundscale_ps(_mm512_mul_ps(x, Set(kLog2E)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    T r = _mm512_fnmadd_ps(n, Set(kLn2High), x);
    r = _mm512_fnmadd_ps(n, Set(kLn2Low), r);
    T y = Set(kExpPolynomial[0]);
    for (int i = 1; i < 6; ++i) y = MulAdd(y, r, Set(kExpPolynomial[i]));
    y = Add(MulAdd(y, _mm512_mul_ps(r, r), r), Set(1.0F));
    return _mm512_scalef_ps(y, n);
  }
  static float Sum(T x) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(x), High(x));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float Largest(T x) {
    __m256 half = _mm256_max_ps(_mm512_castps512_ps256(x), High(x));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }

 private:
  static __m256 High(T x) {
    return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x), 1));
  }
};
#endif

// Calls full(i) for every whole vector of [0, n) and part(i, count) for what is left.
template <typename V, typename Full, typename Part>
inline __attribute__((always_inline)) void ForVectors(int64_t n, Full full, Part part) {
  int64_t i = 0;
  for (; i + V::kWidth <= n; i += V::kWidth) full(i);
  if (i < n) part(i, n - i);
}

}  // namespace lfm2
