// A clock that tests can replace. Thread rule: any thread.
#pragma once

#include <atomic>
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

class FakeClock : public Clock {
 public:
  SteadyTime Now() const override { return SteadyTime(std::chrono::milliseconds(now_ms_.load())); }
  int64_t UnixMillis() const override { return now_ms_.load(); }
  void Advance(std::chrono::milliseconds by) { now_ms_ += by.count(); }

 private:
  std::atomic<int64_t> now_ms_{1'000'000};
};

}  // namespace lfm2
