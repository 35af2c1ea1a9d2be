#include "server/engine/scheduler.h"

#include <algorithm>

namespace lfm2 {
namespace {

LaneStep& StepOf(std::vector<LaneStep>& steps, const LoadedModel* lane) {
  const auto found = std::find_if(steps.begin(), steps.end(),
                                  [lane](const LaneStep& step) { return step.lane == lane; });
  if (found != steps.end()) return *found;
  return steps.emplace_back(LaneStep{lane, {}});
}

// Tokens that decoding leaves of the lane's budget. One that decodes nothing moves on whatever the
// limit is.
int64_t PromptBudget(const LaneStep& step, const StepLimits& limits) {
  const auto decoding = static_cast<int64_t>(step.chunks.size());
  if (decoding == 0) return std::max<int64_t>(limits.step_tokens, 1);
  return std::max<int64_t>(limits.step_tokens - decoding, 0);
}

void AddPromptChunks(std::span<const ScheduledSequence> sequences, int64_t budget, LaneStep& step) {
  for (size_t i = 0; i < sequences.size() && budget > 0; ++i) {
    if (sequences[i].decoding || sequences[i].lane != step.lane) continue;
    const int64_t tokens = std::min(sequences[i].pending, budget);
    step.chunks.push_back({i, tokens});
    budget -= tokens;
  }
}

}  // namespace

std::vector<LaneStep> PlanStep(std::span<const ScheduledSequence> sequences,
                               const StepLimits& limits) {
  const auto places = static_cast<size_t>(std::max<int64_t>(limits.running_sequences, 1));
  const auto running = sequences.first(std::min(sequences.size(), places));
  std::vector<LaneStep> steps;
  for (size_t i = 0; i < running.size(); ++i) {
    LaneStep& step = StepOf(steps, running[i].lane);
    if (running[i].decoding) step.chunks.push_back({i, 1});
  }
  for (LaneStep& step : steps) AddPromptChunks(running, PromptBudget(step, limits), step);
  return steps;
}

}  // namespace lfm2
