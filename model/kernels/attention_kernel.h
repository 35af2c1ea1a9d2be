// Causal attention of a few queries over one part of the stored keys, and how parts are joined
// (the split softmax of flash decoding: Dao et al. 2022, 2023).
//
// A query's numbers are its own: which other queries share the call changes no bit of them.
#pragma once

#include "model/kernels/layer_kernels.h"
#include "model/kernels/vector.h"

namespace lfm2 {

template <typename V>
inline __attribute__((always_inline)) void PutElement(float x, float* to) {
  *to = x;
}

// To the nearest bf16, ties to even; a NaN stays one.
template <typename V>
inline __attribute__((always_inline)) void PutElement(float x, uint16_t* to) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  *to = static_cast<uint16_t>(nan ? (bits >> 16) | 0x40U : rounded);
}

template <typename V, typename Element>
void StoreKvKernel(const float* k, const float* v, int64_t head_dim, int64_t slot, void* tile) {
  auto* keys = static_cast<Element*>(tile);
  Element* values = keys + head_dim * kKvBlockTokens + slot * PaddedHeadDim(head_dim);
  for (int64_t i = 0; i < head_dim; ++i) PutElement<V>(k[i], keys + i * kKvBlockTokens + slot);
  for (int64_t i = 0; i < head_dim; ++i) PutElement<V>(v[i], values + i);
}

// Scores of kRows queries against all keys of kBlocks blocks.
template <typename V, typename Element, int kRows, int kBlocks>
inline __attribute__((always_inline)) void ScoreBlocks(const AttendPart& part, int64_t first_row,
                                                       int64_t block) {
  using T = typename V::T;
  constexpr int kVectors = kKvBlockTokens / V::kWidth < 2 ? 1 : 2;  // held at once, of one block
  constexpr int64_t kStride = kVectors * V::kWidth;
  for (int64_t lane = 0; lane < kKvBlockTokens; lane += kStride) {
    T sums[kRows][kBlocks * kVectors];
    for (auto& row : sums) {
      for (T& sum : row) sum = V::Zero();
    }
    for (int64_t i = 0; i < part.head_dim; ++i) {
      for (int b = 0; b < kBlocks; ++b) {
        const Element* keys =
            static_cast<const Element*>(part.tiles[block + b]) + i * kKvBlockTokens + lane;
        for (int v = 0; v < kVectors; ++v) {
          const T key = V::Load(keys + v * V::kWidth);
          for (int r = 0; r < kRows; ++r) {
            T& sum = sums[r][b * kVectors + v];
            sum = V::MulAdd(V::Set(part.q[first_row + r][i]), key, sum);
          }
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float* scores = part.scores + (first_row + r) * kKvPartTokens + block * kKvBlockTokens + lane;
      for (int b = 0; b < kBlocks; ++b) {
        for (int v = 0; v < kVectors; ++v) {
          V::Store(scores + b * kKvBlockTokens + v * V::kWidth, sums[r][b * kVectors + v]);
        }
      }
    }
  }
}

template <typename V, typename Element, int kRows>
inline __attribute__((always_inline)) void ScoreRows(const AttendPart& part, int64_t first_row,
                                                     int64_t blocks) {
  // Enough sums at once to hide the latency of a multiply-add, few enough for the registers.
  constexpr int kBlocks = kRows >= 3 ? 1 : 2;
  int64_t block = 0;
  for (; block + kBlocks <= blocks; block += kBlocks) {
    ScoreBlocks<V, Element, kRows, kBlocks>(part, first_row, block);
  }
  for (; block < blocks; ++block) ScoreBlocks<V, Element, kRows, 1>(part, first_row, block);
}

// Scores to weights exp(score - largest).
template <typename V>
inline __attribute__((always_inline)) void Weigh(AttendPart& part, int64_t row) {
  using T = typename V::T;
  float* scores = part.scores + row * kKvPartTokens;
  const int64_t keys = part.keys[row];
  T largest = V::Set(scores[0]);
  ForVectors<V>(
      keys, [&](int64_t i) { largest = V::Max(largest, V::Load(scores + i)); },
      [&](int64_t i, int64_t n) {
        for (int64_t j = i; j < i + n; ++j) largest = V::Max(largest, V::Set(scores[j]));
      });
  part.largest[row] = V::Largest(largest);
  const T shift = V::Set(part.largest[row]);
  T sum = V::Zero();
  ForVectors<V>(
      keys,
      [&](int64_t i) {
        const T weight = V::Exp(V::Sub(V::Load(scores + i), shift));
        V::Store(scores + i, weight);
        sum = V::Add(sum, weight);
      },
      [&](int64_t i, int64_t n) {
        V::StorePart(scores + i, V::Exp(V::Sub(V::LoadPart(scores + i, n), shift)), n);
        sum = V::Add(sum, V::LoadPart(scores + i, n));
      });
  part.sum[row] = V::Sum(sum);
}

// mixed[r][c..] += the weighted values of keys [begin, end), kVectors vectors of channels.
template <typename V, typename Element, int kRows, int kVectors>
inline __attribute__((always_inline)) void MixTile(const AttendPart& part, int64_t first_row,
                                                   int64_t c, int64_t begin, int64_t end) {
  using T = typename V::T;
  const int64_t padded = PaddedHeadDim(part.head_dim);
  T sums[kRows][kVectors];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = V::Load(part.mixed[first_row + r] + c + v * V::kWidth);
    }
  }
  const float* weights = part.scores + first_row * kKvPartTokens;
  for (int64_t key = begin; key < end;) {
    const int64_t block = key / kKvBlockTokens;
    const int64_t block_end =
        end < (block + 1) * kKvBlockTokens ? end : (block + 1) * kKvBlockTokens;
    const Element* values = static_cast<const Element*>(part.tiles[block]) +
                            part.head_dim * kKvBlockTokens +
                            (key - block * kKvBlockTokens) * padded + c;
    for (; key < block_end; ++key, values += padded) {
      for (int v = 0; v < kVectors; ++v) {
        const T value = V::Load(values + v * V::kWidth);
        for (int r = 0; r < kRows; ++r) {
          sums[r][v] = V::MulAdd(V::Set(weights[r * kKvPartTokens + key]), value, sums[r][v]);
        }
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      V::Store(part.mixed[first_row + r] + c + v * V::kWidth, sums[r][v]);
    }
  }
}

template <typename V, typename Element, int kRows>
inline __attribute__((always_inline)) void MixRows(const AttendPart& part, int64_t first_row,
                                                   int64_t begin, int64_t end) {
  if (begin >= end) return;
  constexpr int kVectors = kRows >= 3 && V::kWidth < 16 ? 2 : 4;
  const int64_t padded = PaddedHeadDim(part.head_dim);
  int64_t c = 0;
  for (; c + kVectors * V::kWidth <= padded; c += kVectors * V::kWidth) {
    MixTile<V, Element, kRows, kVectors>(part, first_row, c, begin, end);
  }
  for (; c < padded; c += V::kWidth) {
    MixTile<V, Element, kRows, 1>(part, first_row, c, begin, end);
  }
}

template <typename V, typename Element, int kRows>
inline __attribute__((always_inline)) void AttendRows(AttendPart& part) {
  int64_t most = 0, least = kKvPartTokens;
  for (int r = 0; r < kRows; ++r) {
    most = part.keys[r] > most ? part.keys[r] : most;
    least = part.keys[r] < least ? part.keys[r] : least;
  }
  ScoreRows<V, Element, kRows>(part, 0, (most + kKvBlockTokens - 1) / kKvBlockTokens);
  for (int r = 0; r < kRows; ++r) {
    Weigh<V>(part, r);
    for (int64_t c = 0; c < PaddedHeadDim(part.head_dim); ++c) part.mixed[r][c] = 0.0F;
  }
  MixRows<V, Element, kRows>(part, 0, 0, least);
  for (int r = 0; r < kRows; ++r) MixRows<V, Element, 1>(part, r, least, part.keys[r]);
}

template <typename V, typename Element>
void AttendKernel(AttendPart& part) {
  switch (part.rows) {
    case 1:
      return AttendRows<V, Element, 1>(part);
    case 2:
      return AttendRows<V, Element, 2>(part);
    case 3:
      return AttendRows<V, Element, 3>(part);
    default:
      return AttendRows<V, Element, 4>(part);
  }
}

template <typename V>
void JoinKernel(const float* mixed, float largest, float sum, int64_t n, float* all_mixed,
                float* all_largest, float* all_sum) {
  using T = typename V::T;
  const float top = largest > *all_largest ? largest : *all_largest;
  const float before = __builtin_expf(*all_largest - top), now = __builtin_expf(largest - top);
  ForVectors<V>(
      n,
      [&](int64_t i) {
        const T scaled = V::Mul(V::Load(all_mixed + i), V::Set(before));
        V::Store(all_mixed + i, V::MulAdd(V::Load(mixed + i), V::Set(now), scaled));
      },
      [&](int64_t, int64_t) {});
  *all_largest = top;
  *all_sum = *all_sum * before + sum * now;
}

}  // namespace lfm2
