// Converts float32 to fp16, the type of scales. Thread rule: pure.
#pragma once

#include <cstdint>

namespace lfm2 {

uint16_t FloatToHalf(float value);  // IEEE binary16, to nearest even; infinity above 65519.99

}  // namespace lfm2
