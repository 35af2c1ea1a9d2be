// The computations of a layer between its matrix products, for one row or one tile at a time: one
// table of functions for each instruction set. The *_kernel.h files have the arithmetic, written
// once with the vectors of vector.h; layer_kernels_<set>.cc compiles them.
//
// Everything is float32 except stored keys and values. A result depends only on the arguments,
// never on how many rows a caller has or how it splits them, so chunked, batched and resumed passes
// are bit-equal. Thread rule: pure functions of their arguments.
#pragma once

#include <cstdint>

#include "model/kernels/machine/isa.h"

namespace lfm2 {

// Keys and values of one KV head in one block of tokens:
//   K [head_dim][kKvBlockTokens], so that one query is multiplied by many keys at once, then
//   V [kKvBlockTokens][padded head_dim], so that one weight is multiplied by many channels at once.
// Within a row, bf16 is stored in pairs (vector.h).
inline constexpr int64_t kKvBlockTokens = 32;
inline constexpr int64_t kKvChannelPad = 32;
inline constexpr int64_t PaddedHeadDim(int64_t head_dim) {
  return (head_dim + kKvChannelPad - 1) / kKvChannelPad * kKvChannelPad;
}
// Elements of K and V of one head in one block.
inline constexpr int64_t KvTileElements(int64_t head_dim) {
  return kKvBlockTokens * (head_dim + PaddedHeadDim(head_dim));
}

// The keys of a sequence are cut at multiples of this, counted from position 0, and the parts are
// joined in order, so the result does not depend on which thread computes a part, or when.
inline constexpr int64_t kKvPartTokens = 512;
inline constexpr int64_t kKvPartBlocks = kKvPartTokens / kKvBlockTokens;
// Most queries of one call.
inline constexpr int64_t kAttendRows = 4;

// Queries of one KV head against one part of the keys.
struct AttendPart {
  const void* const* tiles = nullptr;  // K and V of this head, for each block of the part
  int64_t head_dim = 0;
  int64_t rows = 0;                  // 1 to kAttendRows
  const float* q[kAttendRows] = {};  // [head_dim], already scaled
  int64_t keys[kAttendRows] = {};    // keys of the part that this query sees: 1 to kKvPartTokens
  float* scores = nullptr;           // scratch, [kAttendRows][kKvPartTokens]
  // Output: the sum over keys of exp(score - largest) * v, and the sum of the weights.
  float* mixed[kAttendRows] = {};  // [padded head_dim]
  float largest[kAttendRows] = {};
  float sum[kAttendRows] = {};
};

// One channel tile of a gated short convolution over a run of tokens:
// y = C * (bias + sum_j w_j v_{t-L+1+j}), v = B * x.
struct ShortConvRun {
  const float* bcx = nullptr;  // [tokens][3 d]: B, C, x
  int64_t tokens = 0;
  int64_t d = 0;
  int64_t begin = 0, end = 0;     // channels
  int64_t taps = 0;               // L
  const float* weight = nullptr;  // [L][d]
  const float* bias = nullptr;    // [d] or null
  float* history = nullptr;       // [L-1][d], oldest first; advanced
  float* y = nullptr;             // [tokens][d]
  float* convolved = nullptr;     // [tokens][d] without C, or null
};

// One channel tile of a diagonal state-space recurrence over a run of tokens, then its gate:
// s = decay * s + input * u;  y = (sum_n C_n s_n + D u) * silu(z).
struct SsmRun {
  const float* uz = nullptr;  // [tokens][2 d]: u, z
  int64_t tokens = 0;
  int64_t d = 0;
  int64_t begin = 0, end = 0;  // channels
  int64_t states = 0;          // N
  const float* decay = nullptr;
  const float* input = nullptr;
  const float* output = nullptr;  // [N][d] each
  const float* skip = nullptr;    // [d]
  float* state = nullptr;         // [N][d]; advanced
  float* y = nullptr;             // [tokens][d]
  float* scanned = nullptr;       // [tokens][d] before the gate, or null
};

struct LayerKernels {
  // y = x / sqrt(mean(x^2) + eps) * weight, over d. y may be x.
  void (*rms_norm)(const float* x, const float* weight, int64_t d, float eps, float* y);
  // x += y.
  void (*add)(const float* y, int64_t n, float* x);
  // Rotate-half by the angles' cos and sin [head_dim / 2], times scale; in place.
  void (*rope)(const float* cos, const float* sin, int64_t head_dim, float scale, float* x);
  // y = silu(gate) * up. y may be gate.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* y);
  void (*short_conv)(const ShortConvRun& run);
  void (*ssm_scan)(const SsmRun& run);
  // Token `slot` of a block's tile: k and v [head_dim], stored as bf16 or float32.
  void (*store_bf16)(const float* k, const float* v, int64_t head_dim, int64_t slot, void* tile);
  void (*store_f32)(const float* k, const float* v, int64_t head_dim, int64_t slot, void* tile);
  void (*attend_bf16)(AttendPart& part);
  void (*attend_f32)(AttendPart& part);
  // Joins the result of the next part of the keys to that of the parts before it.
  void (*join)(const float* mixed, float largest, float sum, int64_t n, float* all_mixed,
               float* all_largest, float* all_sum);
  // y = x * scale.
  void (*scale)(const float* x, float scale, int64_t n, float* y);
};

// `isa` must be one that this machine can run.
const LayerKernels& LayerKernelsFor(Isa isa);

// For layer_kernels.cc.
const LayerKernels& PortableLayerKernels();
const LayerKernels& Avx2LayerKernels();
const LayerKernels& Avx512LayerKernels();

}  // namespace lfm2
