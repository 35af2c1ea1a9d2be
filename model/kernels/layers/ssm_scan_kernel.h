// Diagonal state-space recurrence (S4D-Real, Gu et al. 2022, zero-order hold) and its gate. One
// token and a run of tokens use the same loop, so their results are equal bit for bit.
#pragma once

#include "model/kernels/layers/layer_kernels.h"
#include "model/kernels/layers/silu_mul_kernel.h"
#include "model/kernels/machine/vector.h"

namespace lfm2 {

template <typename V, typename Load, typename Store>
inline __attribute__((always_inline)) void SsmChannels(const SsmRun& run, int64_t c, Load load,
                                                       Store store) {
  using T = typename V::T;
  const int64_t d = run.d;
  for (int64_t t = 0; t < run.tokens; ++t) {
    const T u = load(run.uz + t * 2 * d + c);
    T sum = V::Zero();
    for (int64_t n = 0; n < run.states; ++n) {
      const int64_t at = n * d + c;
      const T next =
          V::MulAdd(load(run.input + at), u, V::Mul(load(run.decay + at), load(run.state + at)));
      store(run.state + at, next);
      sum = V::MulAdd(load(run.output + at), next, sum);
    }
    sum = V::MulAdd(load(run.skip + c), u, sum);
    if (run.scanned != nullptr) store(run.scanned + t * d + c, sum);
    store(run.y + t * d + c, V::Mul(sum, Silu<V>(load(run.uz + t * 2 * d + d + c))));
  }
}

template <typename V>
void SsmScanKernel(const SsmRun& run) {
  using T = typename V::T;
  ForVectors<V>(
      run.end - run.begin,
      [&](int64_t i) {
        SsmChannels<V>(
            run, run.begin + i, [](const float* p) { return V::Load(p); },
            [](float* p, T x) { V::Store(p, x); });
      },
      [&](int64_t i, int64_t n) {
        SsmChannels<V>(
            run, run.begin + i, [n](const float* p) { return V::LoadPart(p, n); },
            [n](float* p, T x) { V::StorePart(p, x, n); });
      });
}

}  // namespace lfm2
