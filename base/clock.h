// A clock that tests can replace. Thread rule: any thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace lfm2 {

using SteadyTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime Now() const = 0;      // for deadlines, leases, durations
  virtual int64_t UnixMillis() const = 0;  // for display only
  static Clock& Real();
};

}  // namespace lfm2
