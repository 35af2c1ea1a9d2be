#include "server/engine/self_test.h"

#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"

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
  if (outputs.size() != 1) return Error(Reason::kInternal, "the self-test returned no result");
  LFM2_RETURN_IF_ERROR(outputs[0].status);
  if (!outputs[0].sample) return Error(Reason::kInternal, "the self-test generated no token");
  return absl::OkStatus();
}

}  // namespace

ModelTask SelfTest(std::shared_ptr<LoadedModel> model,
                   std::function<void(const absl::Status&)> ended) {
  ModelTask task;
  task.model = std::move(model);
  task.tokens = 1;
  task.run = [ended](ModelRunner& runner) {
    ended(MakeOneToken(runner));
    return false;
  };
  task.dropped = std::move(ended);
  return task;
}

}  // namespace lfm2
