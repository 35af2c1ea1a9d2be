// Shared parts of the AVX2 kernels for registers of 8 rows. Only for files compiled for AVX2.
#pragma once

#include <immintrin.h>

#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {

inline constexpr int kHalves = 2;  // registers of 8 rows in a panel

// For one token, hardware prefetching is too slow: with this distance a core reads at the machine's
// bandwidth, without it at two thirds to three quarters (EPYC, Zen 3).
inline constexpr int64_t kLoneTileAhead = 4096;

// Mask of the first `n` of 8 lanes.
inline __m256i FirstOf8(int64_t n) {
  const int left = n < 0 ? 0 : n > 8 ? 8 : static_cast<int>(n);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// body(token, panel, half) for each of a tile's sums.
template <int T, int P, typename Body>
inline __attribute__((always_inline)) void ForEachSum(const Body& body) {
  Unrolled<T>([&](auto t) __attribute__((always_inline)) {
    Unrolled<P>([&](auto p) __attribute__((always_inline)) {
      Unrolled<kHalves>([&](auto h) __attribute__((always_inline)) { body(t, p, h); });
    });
  });
}

}  // namespace lfm2
