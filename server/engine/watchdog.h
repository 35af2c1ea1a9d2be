// Checks whether the engine makes progress. While it has work, its beat count must increase; while
// it is idle, a self-test (one token of the last used model) must pass from time to time. An engine
// without a model in memory is healthy. Thread rule: one thread calls Look. Ownership: borrows; the
// engine may finish a self-test after this object is gone.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "server/engine/engine.h"
#include "server/engine/model_pool.h"

namespace lfm2 {

class Watchdog {
 public:
  // A busy engine without a beat for `stall_ms` is stuck. An idle engine gets a self-test every
  // stall_ms / 3 and is stuck without a beat for stall_ms / 2.
  Watchdog(Engine& engine, const ModelPool& models, Clock& clock, int64_t stall_ms)
      : engine_(engine), models_(models), clock_(clock), stall_(stall_ms) {}

  // Call about once a second: true while the engine makes progress.
  bool Look();

 private:
  // Shared with a running self-test.
  struct Test {
    std::atomic<bool> passed{true};
    std::atomic<bool> running{false};
  };

  void StartSelfTest(SteadyTime now);

  Engine& engine_;
  const ModelPool& models_;
  Clock& clock_;
  const std::chrono::milliseconds stall_;
  const std::shared_ptr<Test> test_ = std::make_shared<Test>();
  SteadyTime last_test_;
  int64_t tokens_seen_ = 0;
  int64_t within_seen_ = 0;
  SteadyTime within_moved_;
};

}  // namespace lfm2
