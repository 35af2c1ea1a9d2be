// silu(gate) * up of one row: the middle of a gated feed-forward (SwiGLU, Shazeer 2020).
#pragma once

#include "model/kernels/machine/vector.h"

namespace lfm2 {

template <typename V>
inline __attribute__((always_inline)) typename V::T Silu(typename V::T x) {
  const typename V::T one = V::Set(1.0F);
  return V::Div(x, V::Add(one, V::Exp(V::Sub(V::Zero(), x))));
}

template <typename V>
void SiluMulKernel(const float* gate, const float* up, int64_t n, float* y) {
  ForVectors<V>(
      n, [&](int64_t i) { V::Store(y + i, V::Mul(Silu<V>(V::Load(gate + i)), V::Load(up + i))); },
      [&](int64_t i, int64_t count) {
        V::StorePart(y + i,
                     V::Mul(Silu<V>(V::LoadPart(gate + i, count)), V::LoadPart(up + i, count)),
                     count);
      });
}

}  // namespace lfm2
