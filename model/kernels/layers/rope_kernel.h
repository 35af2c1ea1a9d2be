// Rotary position embedding of one head, rotate-half form (Su et al. 2021).
#pragma once

#include "model/kernels/machine/vector.h"

namespace lfm2 {

template <typename V>
void RopeKernel(const float* cos, const float* sin, int64_t head_dim, float scale, float* x) {
  using T = typename V::T;
  const int64_t half = head_dim / 2;
  const T factor = V::Set(scale);
  const auto low = [&](T a, T b, T c, T s) {
    return V::Mul(V::Sub(V::Mul(a, c), V::Mul(b, s)), factor);
  };
  const auto high = [&](T a, T b, T c, T s) {
    return V::Mul(V::Add(V::Mul(b, c), V::Mul(a, s)), factor);
  };
  ForVectors<V>(
      half,
      [&](int64_t i) {
        const T a = V::Load(x + i), b = V::Load(x + half + i);
        const T c = V::Load(cos + i), s = V::Load(sin + i);
        V::Store(x + i, low(a, b, c, s));
        V::Store(x + half + i, high(a, b, c, s));
      },
      [&](int64_t i, int64_t n) {
        const T a = V::LoadPart(x + i, n), b = V::LoadPart(x + half + i, n);
        const T c = V::LoadPart(cos + i, n), s = V::LoadPart(sin + i, n);
        V::StorePart(x + i, low(a, b, c, s), n);
        V::StorePart(x + half + i, high(a, b, c, s), n);
      });
}

}  // namespace lfm2
