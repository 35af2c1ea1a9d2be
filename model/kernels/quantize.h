// Float32 to the two 16-bit floats. Thread rule: pure functions.
#pragma once

#include <cstdint>

namespace lfm2 {

uint16_t FloatToHalf(float value);      // IEEE binary16, to nearest even; infinity above 65519.99
uint16_t FloatToBFloat16(float value);  // to nearest even; a NaN stays one

}  // namespace lfm2
