// Causal attention of a few queries over one part of the stored keys, and joining of the parts (the
// split softmax of flash decoding: Dao et al. 2022, 2023).
//
// A query's result does not depend, bit for bit, on the other queries in the call.
#pragma once

#include "model/kernels/layers/layer_kernels.h"
#include "model/kernels/machine/vector.h"

namespace lfm2 {

template <typename V>
inline __attribute__((always_inline)) void PutElement(float x, float* to) {
  *to = x;
}

// Rounds to the nearest bf16, ties to even; a NaN stays a NaN.
template <typename V>
inline __attribute__((always_inline)) void PutElement(float x, uint16_t* to) {
  uint32_t bits = 0;
  __builtin_memcpy(&bits, &x, sizeof(bits));
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  *to = static_cast<uint16_t>(nan ? (bits >> 16) | 0x40U : rounded);
}

// The position of number i in a stored row (vector.h's pairs).
template <typename V, typename Element>
inline __attribute__((always_inline)) int64_t PlaceOf(int64_t i) {
  if (sizeof(Element) != sizeof(uint16_t)) return i;
  const int64_t in_group = i % kPairGroup;
  const int64_t high = in_group >= kPairDistance ? 1 : 0;
  return i - in_group + 2 * (in_group - high * kPairDistance) + high;
}

template <typename V, typename Element>
void StoreKvKernel(const float* k, const float* v, int64_t head_dim, int64_t slot, void* tile) {
  auto* keys = static_cast<Element*>(tile) + PlaceOf<V, Element>(slot);
  Element* values =
      static_cast<Element*>(tile) + head_dim * kKvBlockTokens + slot * PaddedHeadDim(head_dim);
  for (int64_t i = 0; i < head_dim; ++i) PutElement<V>(k[i], keys + i * kKvBlockTokens);
  for (int64_t i = 0; i < head_dim; ++i) PutElement<V>(v[i], values + PlaceOf<V, Element>(i));
}

inline constexpr int64_t kCacheLine = 64;

// A hardware prefetcher starts again at each page, and a tile is about one page, so the lines of
// the next tile are prefetched while this one is read.
template <typename V, int64_t kBytes>
inline __attribute__((always_inline)) void Prefetch(const void* p) {
  const char* line = static_cast<const char*>(p);
  for (int64_t at = 0; at < kBytes; at += kCacheLine) __builtin_prefetch(line + at, 0, 3);
}

// The keys of block `block` of `blocks`; after the last block, the values of the first.
template <typename V, typename Element>
inline __attribute__((always_inline)) const Element* KeysOrNext(const AttendPart& part,
                                                                int64_t block, int64_t blocks) {
  if (block < blocks) return static_cast<const Element*>(part.tiles[block]);
  const int64_t after = block - blocks < blocks ? block - blocks : blocks - 1;
  return static_cast<const Element*>(part.tiles[after]) + part.head_dim * kKvBlockTokens;
}

// Computes the scores of kRows queries for all keys of kBlocks blocks.
template <typename V, typename Element, int kRows, int kBlocks>
inline __attribute__((always_inline)) void ScoreBlocks(const AttendPart& part, int64_t first_row,
                                                       int64_t block, int64_t blocks) {
  using T = typename V::T;
  constexpr int64_t kRowBytes = kKvBlockTokens * static_cast<int64_t>(sizeof(Element));
  const Element* next[kBlocks];
  for (int b = 0; b < kBlocks; ++b) {
    next[b] = KeysOrNext<V, Element>(part, block + kBlocks + b, blocks);
  }
  for (int64_t lane = 0; lane < kPairDistance; lane += V::kWidth) {
    T sums[kRows][kBlocks][2];
    for (auto& row : sums) {
      for (auto& pair : row) pair[0] = pair[1] = V::Zero();
    }
    for (int64_t i = 0; i < part.head_dim; ++i) {
      for (int b = 0; b < kBlocks; ++b) {
        if (lane == 0) Prefetch<V, kRowBytes>(next[b] + i * kKvBlockTokens);
        T low, high;
        V::LoadPair(static_cast<const Element*>(part.tiles[block + b]) + i * kKvBlockTokens, lane,
                    low, high);
        for (int r = 0; r < kRows; ++r) {
          const T query = V::Set(part.q[first_row + r][i]);
          sums[r][b][0] = V::MulAdd(query, low, sums[r][b][0]);
          sums[r][b][1] = V::MulAdd(query, high, sums[r][b][1]);
        }
      }
    }
    for (int r = 0; r < kRows; ++r) {
      float* scores = part.scores + (first_row + r) * kKvPartTokens + block * kKvBlockTokens + lane;
      for (int b = 0; b < kBlocks; ++b) {
        V::Store(scores + b * kKvBlockTokens, sums[r][b][0]);
        V::Store(scores + b * kKvBlockTokens + kPairDistance, sums[r][b][1]);
      }
    }
  }
}

template <typename V, typename Element, int kRows>
inline __attribute__((always_inline)) void ScoreRows(const AttendPart& part, int64_t first_row,
                                                     int64_t blocks) {
  // Enough independent sums to hide the latency of a multiply-add, few enough for the registers.
  constexpr int kBlocks = kRows >= 3 ? 1 : 2;
  int64_t block = 0;
  for (; block + kBlocks <= blocks; block += kBlocks) {
    ScoreBlocks<V, Element, kRows, kBlocks>(part, first_row, block, blocks);
  }
  for (; block < blocks; ++block) ScoreBlocks<V, Element, kRows, 1>(part, first_row, block, blocks);
}

// Converts scores to weights exp(score - largest).
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

// A unit is the pair of channel vectors that one LoadPair returns.
template <typename V>
inline __attribute__((always_inline)) int64_t ChannelOfUnit(int64_t unit) {
  constexpr int64_t kUnitsPerGroup = kPairDistance / V::kWidth;
  return unit / kUnitsPerGroup * kPairGroup + unit % kUnitsPerGroup * V::kWidth;
}

// mixed[r] += the weighted values of keys [begin, end), for kUnits units of channels.
template <typename V, typename Element, int kRows, int kUnits>
inline __attribute__((always_inline)) void MixTile(const AttendPart& part, int64_t first_row,
                                                   int64_t unit, int64_t begin, int64_t end) {
  using T = typename V::T;
  constexpr int64_t kUnitsPerGroup = kPairDistance / V::kWidth;
  const int64_t padded = PaddedHeadDim(part.head_dim);
  int64_t group[kUnits], lane[kUnits];
  T sums[kRows][kUnits][2];
  for (int u = 0; u < kUnits; ++u) {
    group[u] = (unit + u) / kUnitsPerGroup * kPairGroup;
    lane[u] = (unit + u) % kUnitsPerGroup * V::kWidth;
    for (int r = 0; r < kRows; ++r) {
      const float* mixed = part.mixed[first_row + r] + ChannelOfUnit<V>(unit + u);
      sums[r][u][0] = V::Load(mixed);
      sums[r][u][1] = V::Load(mixed + kPairDistance);
    }
  }
  const float* weights = part.scores + first_row * kKvPartTokens;
  for (int64_t key = begin; key < end;) {
    const int64_t block = key / kKvBlockTokens;
    const int64_t block_end =
        end < (block + 1) * kKvBlockTokens ? end : (block + 1) * kKvBlockTokens;
    const int64_t at = part.head_dim * kKvBlockTokens + (key - block * kKvBlockTokens) * padded;
    const Element* values = static_cast<const Element*>(part.tiles[block]) + at;
    const Element* next =
        block_end < end ? static_cast<const Element*>(part.tiles[block + 1]) + at : values;
    for (; key < block_end; ++key, values += padded, next += padded) {
      for (int u = 0; u < kUnits; ++u) {
        Prefetch<V, 2 * V::kWidth* static_cast<int64_t>(sizeof(Element))>(next + group[u] +
                                                                          2 * lane[u]);
        T low, high;
        V::LoadPair(values + group[u], lane[u], low, high);
        for (int r = 0; r < kRows; ++r) {
          const T weight = V::Set(weights[r * kKvPartTokens + key]);
          sums[r][u][0] = V::MulAdd(weight, low, sums[r][u][0]);
          sums[r][u][1] = V::MulAdd(weight, high, sums[r][u][1]);
        }
      }
    }
  }
  for (int u = 0; u < kUnits; ++u) {
    for (int r = 0; r < kRows; ++r) {
      float* mixed = part.mixed[first_row + r] + ChannelOfUnit<V>(unit + u);
      V::Store(mixed, sums[r][u][0]);
      V::Store(mixed + kPairDistance, sums[r][u][1]);
    }
  }
}

template <typename V, typename Element, int kRows>
inline __attribute__((always_inline)) void MixRows(const AttendPart& part, int64_t first_row,
                                                   int64_t begin, int64_t end) {
  if (begin >= end) return;
  constexpr int kUnits = kRows >= 3 && V::kWidth < 16 ? 1 : 2;
  const int64_t units = PaddedHeadDim(part.head_dim) / (2 * V::kWidth);
  int64_t unit = 0;
  for (; unit + kUnits <= units; unit += kUnits) {
    MixTile<V, Element, kRows, kUnits>(part, first_row, unit, begin, end);
  }
  for (; unit < units; ++unit) MixTile<V, Element, kRows, 1>(part, first_row, unit, begin, end);
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
