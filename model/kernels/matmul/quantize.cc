#include "model/kernels/matmul/quantize.h"

#include <bit>

namespace lfm2 {

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

}  // namespace lfm2
