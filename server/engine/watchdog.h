// Whether the engine makes progress: while it has work, its beats must move; while it has none, a
// self-test (one token of the model that was used last) must pass now and then. An engine without a
// model in memory has nothing to prove. Thread rule: one thread looks. Ownership: borrows; the
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
  // Without a beat for `stall_ms` a busy engine is stuck, without one for half of that if it was
  // idle and is asked for a self-test, which it is every third of that.
  Watchdog(Engine& engine, const ModelPool& models, Clock& clock, int64_t stall_ms)
      : engine_(engine), models_(models), clock_(clock), stall_(stall_ms) {}

  // Call about once a second: true while the engine makes progress.
  bool Look();

 private:
  // Shared with a self-test that runs.
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
