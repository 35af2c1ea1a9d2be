#include "model/kernels/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lfm2 {
namespace {

constexpr int kGroup = 32;

// 1 / scale; 0 where a group has no magnitude that a float32 quotient could express.
float Inverse(float scale) {
  const float inverse = scale != 0.0F ? 1.0F / scale : 0.0F;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

// To nearest, half away from zero, as roundf, which is a call for every number without SSE4.1;
// |x| < 2^31.
int RoundHalfAway(float x) {
  const int cut = static_cast<int>(x);
  const float rest = x - static_cast<float>(cut);  // exact
  return cut + static_cast<int>(rest >= 0.5F) - static_cast<int>(rest <= -0.5F);
}

// Of magnitudes, the one whose bits are the largest number: what vectors of SSE2 compare at once.
float LargestMagnitude(const float* values) {
  int32_t largest = 0;
  for (int i = 0; i < kGroup; ++i) {
    largest = std::max(largest, std::bit_cast<int32_t>(values[i]) & 0x7fffffff);
  }
  return std::bit_cast<float>(largest);
}

}  // namespace

uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000U;
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U);
  if (magnitude >= 0x47800000U) return static_cast<uint16_t>(sign | 0x7c00U);  // 2^16 and above
  if (magnitude < 0x38800000U) {
    // Below 2^-14: a whole number of 2^-24, which adding 0.5 rounds at exactly that place.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000U));
  }
  // A carry out of the fraction goes into the exponent, as it should, up to infinity.
  const uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13 & 1U) - (uint32_t{112} << 23);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>(bits >> 16 | 0x40U);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

QuantizedGroup QuantizeInt8(const float* values) {
  const float scale = LargestMagnitude(values) / 127.0F;
  const float inverse = Inverse(scale);
  QuantizedGroup group;
  group.scale = FloatToHalf(scale);
  for (int i = 0; i < kGroup; ++i) {
    group.q[i] = static_cast<int8_t>(RoundHalfAway(values[i] * inverse));
  }
  return group;
}

QuantizedGroup QuantizeInt4(const float* values) {
  const float magnitude = LargestMagnitude(values);
  // The first of those that have it.
  const float largest = *std::find_if(
      values, values + kGroup, [magnitude](float value) { return std::abs(value) == magnitude; });
  const float scale = largest / -8.0F;
  const float inverse = Inverse(scale);
  QuantizedGroup group;
  group.scale = FloatToHalf(scale);
  for (int i = 0; i < kGroup; ++i) {
    const int q = static_cast<int>(values[i] * inverse + 8.5F);
    group.q[i] = static_cast<int8_t>(std::min(q, 15) - 8);
  }
  return group;
}

}  // namespace lfm2
