// Time that stands still until the test moves it. Thread rule: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace lfm2 {

class FakeClock : public Clock {
 public:
  SteadyTime Now() const override { return SteadyTime(std::chrono::milliseconds(now_ms_.load())); }
  int64_t UnixMillis() const override { return now_ms_.load(); }
  void Advance(std::chrono::milliseconds by) { now_ms_ += by.count(); }

 private:
  std::atomic<int64_t> now_ms_{1'000'000};
};

}  // namespace lfm2
