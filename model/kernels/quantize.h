// Float32 to the two number formats of a group, by the rule of ggml's reference quantizers
// (ggml-quants.c, quantize_row_q8_0_ref and quantize_row_q4_0_ref), and to the two 16-bit floats.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>

namespace lfm2 {

uint16_t FloatToHalf(float value);      // IEEE binary16, to nearest even; infinity above 65519.99
uint16_t FloatToBFloat16(float value);  // to nearest even; a NaN stays one

// A group of 32 numbers: value j = scale * q[j], the scale an fp16. All values are finite; a scale
// too large for fp16 comes back as infinity.
struct QuantizedGroup {
  uint16_t scale = 0;  // fp16 bits
  int8_t q[32] = {};
};

QuantizedGroup QuantizeInt8(
    const float* values);  // q in -127..127, scale = largest magnitude / 127
QuantizedGroup QuantizeInt4(const float* values);  // q in -8..7, scale = the largest / -8

}  // namespace lfm2
