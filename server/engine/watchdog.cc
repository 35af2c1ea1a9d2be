#include "server/engine/watchdog.h"

#include <utility>
#include <vector>

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "server/base/log.h"

namespace lfm2 {
namespace {

absl::Status MakeOneToken(ModelRunner& runner) {
  const std::vector<int32_t> prompt = {0};
  const SamplingParams greedy;
  LFM2_ASSIGN_OR_RETURN(const NewState fresh, runner.Start({prompt, {}, false}));
  StepItem item;
  item.state = fresh.state.get();
  item.tokens = prompt;
  item.sample = true;
  item.sampling = &greedy;
  item.history = prompt;
  const std::vector<StepOutput> outputs = runner.Step({&item, 1});
  if (outputs.size() != 1) return Error(Reason::kInternal, "the self-test has no answer");
  LFM2_RETURN_IF_ERROR(outputs[0].status);
  if (!outputs[0].sample) return Error(Reason::kInternal, "the self-test gave no token");
  return absl::OkStatus();
}

}  // namespace

bool Watchdog::Look() {
  const EngineProgress progress = engine_.progress();
  const SteadyTime now = clock_.Now();
  // A caller's token proves more than a self-test does.
  const int64_t tokens = engine_.stats().tokens_generated;
  if (tokens != tokens_seen_) *passed_ = true;
  tokens_seen_ = tokens;
  if (progress.busy) return *passed_ && now - progress.since < stall_;
  if (now - std::max(last_test_, progress.since) >= stall_ / 2) StartSelfTest(now);
  return *passed_;
}

void Watchdog::StartSelfTest(SteadyTime now) {
  std::vector<std::shared_ptr<LoadedModel>> models = models_.Loaded();
  if (models.empty()) {
    *passed_ = true;
    return;
  }
  last_test_ = now;
  ModelTask task;
  task.model = std::move(models.front());
  task.tokens = 1;
  // The engine runs the task: it is there.
  task.run = [passed = passed_, &engine = engine_](ModelRunner& runner) {
    const absl::Status status = MakeOneToken(runner);
    if (!status.ok()) {
      Log(LogLevel::kError, "self-test failed", {{"cause", std::string(status.message())}});
    }
    if (DetailsOf(status).reason == Reason::kGpuFault) engine.SetGpuLost();
    *passed = status.ok();
    return false;
  };
  task.dropped = [passed = passed_](const absl::Status& status) {
    *passed = DetailsOf(status).reason == Reason::kDraining;
  };
  (void)engine_.Submit(std::move(task));  // refused: it stops, or work has come meanwhile
}

}  // namespace lfm2
