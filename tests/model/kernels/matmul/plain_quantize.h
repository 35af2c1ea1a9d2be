// The rule of ggml's reference quantizers (ggml-quants.c, quantize_row_q8_0_ref and
// quantize_row_q4_0_ref), number by number: what packing must give on every instruction set.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "model/kernels/matmul/quantize.h"

namespace lfm2 {

// To nearest even; a NaN stays one.
inline uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

// 32 numbers: value j = scale * q[j], the scale an fp16.
struct QuantizedGroup {
  uint16_t scale = 0;  // fp16 bits
  int8_t q[32] = {};
};

inline float LargestOfGroup(const float* values) {
  return *std::max_element(values, values + 32,
                           [](float a, float b) { return std::abs(a) < std::abs(b); });
}

inline float InverseOf(float scale) {
  const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

inline QuantizedGroup QuantizeInt8(const float* values) {
  const float scale = std::abs(LargestOfGroup(values)) / 127.0F;
  QuantizedGroup group;
  group.scale = FloatToHalf(scale);
  for (int i = 0; i < 32; ++i) {
    group.q[i] = static_cast<int8_t>(std::round(values[i] * InverseOf(scale)));
  }
  return group;
}

inline QuantizedGroup QuantizeInt4(const float* values) {
  const float scale = LargestOfGroup(values) / -8.0F;
  QuantizedGroup group;
  group.scale = FloatToHalf(scale);
  for (int i = 0; i < 32; ++i) {
    const int q = static_cast<int>(values[i] * InverseOf(scale) + 8.5F);
    group.q[i] = static_cast<int8_t>(std::min(q, 15) - 8);
  }
  return group;
}

}  // namespace lfm2
