// Loads and stores the sums of a tile of T tokens times P panels, which are in registers in
// between. Only for files compiled with AVX-512; each has its own copy, so that it runs nowhere
// else.
#pragma once

#include <immintrin.h>

#include "model/kernels/matmul/avx512_lanes.h"
#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {

// Zeros, or the sums that the steps before stored in y.
template <int T, int P>
static inline __attribute__((always_inline)) void LoadSums(const Tile& tile, __m512 (&sums)[T][P]) {
  Unrolled<T>([&](auto t) __attribute__((always_inline)) {
    Unrolled<P>([&](auto p) __attribute__((always_inline)) {
      sums[t][p] = tile.resume ? _mm512_maskz_loadu_ps(FirstOf16(tile.rows - p * 16),
                                                       tile.y + t * tile.y_row + p * 16)
                               : _mm512_setzero_ps();
    });
  });
}

template <int T, int P>
static inline __attribute__((always_inline)) void StoreSums(const Tile& tile,
                                                            const __m512 (&sums)[T][P]) {
  Unrolled<T>([&](auto t) __attribute__((always_inline)) {
    Unrolled<P>([&](auto p) __attribute__((always_inline)) {
      _mm512_mask_storeu_ps(tile.y + t * tile.y_row + p * 16, FirstOf16(tile.rows - p * 16),
                            sums[t][p]);
    });
  });
}

}  // namespace lfm2
