#include "server/engine/watchdog.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/log.h"
#include "server/engine/self_test.h"

namespace lfm2 {

bool Watchdog::Look() {
  const EngineProgress progress = engine_.progress();
  const SteadyTime now = clock_.Now();
  // A token generated for a caller counts as a passed self-test.
  const int64_t tokens = engine_.stats().tokens_generated;
  if (tokens != tokens_seen_) test_->passed = true;
  tokens_seen_ = tokens;
  if (progress.within != within_seen_) within_moved_ = now;
  within_seen_ = progress.within;
  if (progress.busy) {
    const SteadyTime moved = std::max(progress.since, within_moved_);
    return test_->passed && now - moved < (test_->running ? stall_ / 2 : stall_);
  }
  if (now - std::max(last_test_, progress.since) >= stall_ / 3) StartSelfTest(now);
  return test_->passed;
}

void Watchdog::StartSelfTest(SteadyTime now) {
  std::vector<std::shared_ptr<LoadedModel>> models = models_.Loaded();
  if (models.empty()) {
    test_->passed = true;
    return;
  }
  last_test_ = now;
  test_->running = true;
  // The engine makes this call, so it still exists.
  const auto ended = [test = test_, &engine = engine_](const absl::Status& status) {
    if (DetailsOf(status).reason == Reason::kGpuFault) engine.SetGpuLost();
    test->passed = status.ok() || DetailsOf(status).reason == Reason::kDraining;
    test->running = false;
    if (!test->passed) {
      Log(LogLevel::kError, "self-test failed", {{"cause", std::string(status.message())}});
    }
  };
  // Refused, because the engine is stopping or work has arrived meanwhile.
  if (!engine_.Submit(SelfTest(std::move(models.front()), ended)).ok()) test_->running = false;
}

}  // namespace lfm2
