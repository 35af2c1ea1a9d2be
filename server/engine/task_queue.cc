#include "server/engine/task_queue.h"

#include <algorithm>
#include <utility>

#include "base/errors.h"
#include "server/engine/elapsed.h"

namespace lfm2 {
namespace {

// OK while the task's caller waits for it.
absl::Status WhyEnded(const OpenTask& open, SteadyTime now) {
  absl::Status stopped = open.task.stopped ? open.task.stopped() : absl::OkStatus();
  if (now < open.task.deadline && !absl::IsDeadlineExceeded(stopped)) return stopped;
  return Error(open.started ? Reason::kDeadlineInDecode : Reason::kDeadlineInQueue,
               "the deadline passed before the work was finished");
}

}  // namespace

OpenTask TaskQueue::Take(size_t index) {
  OpenTask taken = std::move(tasks_[index]);
  tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(index));
  return taken;
}

std::vector<EndedTask> TaskQueue::TakeEnded(SteadyTime now) {
  std::vector<EndedTask> ended;
  for (size_t i = tasks_.size(); i-- > 0;) {
    absl::Status why = WhyEnded(tasks_[i], now);
    if (!why.ok()) ended.push_back({Take(i), std::move(why)});
  }
  return ended;
}

std::optional<size_t> TaskQueue::Next(SteadyTime now, bool prompt_waits,
                                      const StateMemory& held) const {
  if (prompt_waits && had_turn_) return std::nullopt;
  std::optional<size_t> chosen;
  int64_t most = -1;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    const OpenTask& open = tasks_[i];
    if (!open.started && !held.HasRoom(open.task.model.get(), open.memory)) continue;
    const int64_t waited_ms = Milliseconds(open.last_turn, now);
    const bool yields = open.task.priority == Priority::kLow && waited_ms < ageing_ms_;
    if (yields && prompt_waits) continue;
    const int64_t urgency = waited_ms + static_cast<int64_t>(open.task.priority) * ageing_ms_;
    if (urgency <= most) continue;
    most = urgency;
    chosen = i;
  }
  return chosen;
}

std::optional<OpenTask> TaskQueue::TakeNext(SteadyTime now, bool prompt_waits,
                                            const StateMemory& held) {
  const std::optional<size_t> next = Next(now, prompt_waits, held);
  had_turn_ = next.has_value();
  if (!next) return std::nullopt;
  return Take(*next);
}

void TaskQueue::HoldMemory(StateMemory& memory) const {
  for (const OpenTask& open : tasks_) {
    const LoadedModel* const lane = open.task.model.get();
    memory.SetLimit(lane, open.task.model->runner->state_memory_limit());
    if (open.started) memory.Hold(lane, open.memory);
  }
}

void TaskQueue::HoldMemoryForNext(StateMemory& memory) const {
  const auto next = std::find_if(tasks_.begin(), tasks_.end(),
                                 [](const OpenTask& open) { return !open.started; });
  if (next != tasks_.end()) memory.Hold(next->task.model.get(), next->memory);
}

}  // namespace lfm2
