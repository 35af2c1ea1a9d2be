// Thread rule: a pure function.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace lfm2 {

inline int64_t Milliseconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
}

}  // namespace lfm2
