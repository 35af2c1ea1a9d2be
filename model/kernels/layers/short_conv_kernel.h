// LFM2's gated short convolution between its two projections. One token and a run of tokens use the
// same loop, so their results are equal bit for bit.
#pragma once

#include "model/kernels/layers/layer_kernels.h"
#include "model/kernels/machine/vector.h"

namespace lfm2 {

// `load` and `store` move one vector of channels, whole or in part.
template <typename V, typename Load, typename Store>
inline __attribute__((always_inline)) void ShortConvChannels(const ShortConvRun& run, int64_t c,
                                                             Load load, Store store) {
  using T = typename V::T;
  const int64_t d = run.d, past = run.taps - 1;
  for (int64_t t = 0; t < run.tokens; ++t) {
    const float* row = run.bcx + t * 3 * d + c;
    const T v = V::Mul(load(row), load(row + 2 * d));
    T sum = V::Mul(v, load(run.weight + past * d + c));
    for (int64_t j = 0; j < past; ++j) {
      float* kept = run.history + j * d + c;
      sum = V::MulAdd(load(kept), load(run.weight + j * d + c), sum);
      store(kept, j + 1 < past ? load(kept + d) : v);
    }
    if (run.bias != nullptr) sum = V::Add(sum, load(run.bias + c));
    if (run.convolved != nullptr) store(run.convolved + t * d + c, sum);
    store(run.y + t * d + c, V::Mul(load(row + d), sum));
  }
}

template <typename V>
void ShortConvKernel(const ShortConvRun& run) {
  using T = typename V::T;
  ForVectors<V>(
      run.end - run.begin,
      [&](int64_t i) {
        ShortConvChannels<V>(
            run, run.begin + i, [](const float* p) { return V::Load(p); },
            [](float* p, T x) { V::Store(p, x); });
      },
      [&](int64_t i, int64_t n) {
        ShortConvChannels<V>(
            run, run.begin + i, [n](const float* p) { return V::LoadPart(p, n); },
            [n](float* p, T x) { V::StorePart(p, x, n); });
      });
}

}  // namespace lfm2
