// ggml's block types, little-endian; a block is 32 neighbouring values of a row:
//   Q8_0  f16 d, 32 x i8 q                  value j = d * q[j]
//   Q4_0  f16 d, 16 bytes of two q each     value j = d * (q - 8)
//   Q4_1  f16 d, f16 m, 16 bytes            value j = d * q + m
// Byte i of the four-bit types holds the q of value i in its low half and of value i + 16 in its
// high half. Source: ggml's quants, dequantize_row_*. Values are exact, except that Q4_1 rounds its
// sum once. Thread rule: pure.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "model/formats/tensor_archive.h"

namespace lfm2 {

float HalfToFloat(uint16_t bits);  // IEEE binary16, exact
// Exact. Defined in the header, so that compilers can vectorize loops of it.
inline float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

// Writes the tensor's values as float32, row-major. `out` has ElementsOf(view.shape) elements; the
// type is F32, F16, BF16 or a block type (any other type leaves `out` unchanged).
void Dequantize(const TensorView& view, std::span<float> out);

}  // namespace lfm2
