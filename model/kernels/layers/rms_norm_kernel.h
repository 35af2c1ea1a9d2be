// Root-mean-square layer norm of one row, statistics in float32 (Zhang and Sennrich 2019), and the
// residual sum before it.
#pragma once

#include "model/kernels/machine/vector.h"

namespace lfm2 {

template <typename V>
void RmsNormKernel(const float* x, const float* weight, int64_t d, float eps, float* y) {
  typename V::T squares = V::Zero();
  ForVectors<V>(
      d,
      [&](int64_t i) {
        const typename V::T value = V::Load(x + i);
        squares = V::MulAdd(value, value, squares);
      },
      [&](int64_t i, int64_t n) {
        const typename V::T value = V::LoadPart(x + i, n);
        squares = V::MulAdd(value, value, squares);
      });
  const float mean = V::Sum(squares) / static_cast<float>(d);
  const typename V::T factor = V::Set(1.0F / __builtin_sqrtf(mean + eps));
  ForVectors<V>(
      d,
      [&](int64_t i) {
        V::Store(y + i, V::Mul(V::Mul(V::Load(x + i), factor), V::Load(weight + i)));
      },
      [&](int64_t i, int64_t n) {
        V::StorePart(y + i,
                     V::Mul(V::Mul(V::LoadPart(x + i, n), factor), V::LoadPart(weight + i, n)), n);
      });
}

template <typename V>
void AddKernel(const float* y, int64_t n, float* x) {
  ForVectors<V>(
      n, [&](int64_t i) { V::Store(x + i, V::Add(V::Load(x + i), V::Load(y + i))); },
      [&](int64_t i, int64_t count) {
        V::StorePart(x + i, V::Add(V::LoadPart(x + i, count), V::LoadPart(y + i, count)), count);
      });
}

template <typename V>
void ScaleKernel(const float* x, float scale, int64_t n, float* y) {
  const typename V::T factor = V::Set(scale);
  ForVectors<V>(
      n, [&](int64_t i) { V::Store(y + i, V::Mul(V::Load(x + i), factor)); },
      [&](int64_t i, int64_t count) {
        V::StorePart(y + i, V::Mul(V::LoadPart(x + i, count), factor), count);
      });
}

}  // namespace lfm2
