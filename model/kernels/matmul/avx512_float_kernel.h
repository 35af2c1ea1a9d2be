// The loops for float32 and bfloat16 weights with AVX-512. Only for files compiled for it.
//
// `Weights` is a type with
//
//   Activation   what one token multiplies with one part
//   kParts       registers into which a register of weights is expanded, each for a column or a
//                pair of columns
//   Part(w, i)   the i-th of these registers
//   Pack         [columns or pairs][tokens] Activations from [tokens][columns] float32
//   MultiplyAdd  adds 16 rows of a part times one Activation to their sums
#pragma once

#include <immintrin.h>

#include "model/kernels/matmul/avx512_lanes.h"
#include "model/kernels/matmul/avx512_sums.h"
#include "model/kernels/matmul/panel_loop.h"

namespace lfm2 {

inline constexpr int kFloatRegisters = 4;  // registers of weights in a step

// kFewPanels: how many panels are computed at once for few tokens.
template <typename Weights, int kFewPanels>
struct Avx512FloatKernel {
  using Activation = typename Weights::Activation;
  static constexpr int kMaxTokens = 12;
  static constexpr int64_t kAheadBytes = 0;
  static constexpr int64_t kStepBytes = kFloatStepBytes;
  static constexpr int kColumns = kFloatRegisters * Weights::kParts;
  static constexpr int64_t kTokenStepBytes = kColumns * sizeof(Activation);
  static constexpr int64_t PanelsAtOnce(int64_t tokens) {
    if (tokens > 4) return 2;
    return kFewPanels;
  }

  static void Pack(const float* x, int64_t cols, int64_t tokens, int64_t steps, std::byte* tile) {
    Weights::Pack(x, cols, tokens, steps, reinterpret_cast<Activation*>(tile));
  }

  template <int T, int P>
  static void RunTile(const Tile& tile) {
    __m512 sums[T][P];
    LoadSums(tile, sums);
    const std::byte* weights = tile.weights;
    const std::byte* next = tile.next;
    const std::byte* const end = weights + tile.steps * kStepBytes;
    const int64_t panel_bytes = tile.panel_bytes;
    const Activation* a = reinterpret_cast<const Activation*>(tile.activations);
    for (; weights != end; weights += kStepBytes, a += kColumns * T) {
      // With many tokens arithmetic is the bottleneck, and prefetching helps. With few tokens
      // memory is the bottleneck, and software prefetching only disturbs the stream.
      if (T > 4 && next != nullptr) {
        FetchStep<P, kStepBytes>(next, panel_bytes);
        next += kStepBytes;
      }
      Unrolled<kFloatRegisters>([&](auto i) __attribute__((always_inline)) {
        __m512i loaded[P];
        Unrolled<P>([&](auto p) __attribute__((always_inline)) {
          loaded[p] = _mm512_load_si512(weights + p * panel_bytes + i * 64);
        });
        Unrolled<Weights::kParts>([&](auto part) __attribute__((always_inline)) {
          __m512i w[P];
          Unrolled<P>([&](auto p) __attribute__((always_inline)) {
            w[p] = Weights::Part(loaded[p], part);
          });
          const Activation* const column = a + (i * Weights::kParts + part) * T;
          Unrolled<T>([&](auto t) __attribute__((always_inline)) {
            Unrolled<P>([&](auto p) __attribute__((always_inline)) {
              sums[t][p] = Weights::MultiplyAdd(w[p], column + t, sums[t][p]);
            });
          });
        });
      });
    }
    StoreSums(tile, sums);
  }
};

}  // namespace lfm2
