// ggml's block types, one block being 32 neighbours of a row, little-endian:
//   Q8_0  f16 d, 32 x i8 q                  value j = d * q[j]
//   Q4_0  f16 d, 16 bytes of two q each     value j = d * (q - 8)
//   Q4_1  f16 d, f16 m, 16 bytes            value j = d * q + m
// A byte i of the four-bit types holds the q of value i in its low half, of value i + 16 in its
// high half. Source: ggml's quants, dequantize_row_*. Values are exact but for the one rounding of
// Q4_1's sum. Thread rule: pure.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "model/formats/tensor_archive.h"

namespace lfm2 {

float HalfToFloat(uint16_t bits);  // IEEE binary16, exact
// Exact. Here, so that a loop of it is a loop of vectors.
inline float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// The tensor's values as float32, row-major. `out` has ElementsOf(view.shape) places; the type is
// F32, F16, BF16 or a block type (any other leaves `out` as it is).
void Dequantize(const TensorView& view, std::span<float> out);

}  // namespace lfm2
