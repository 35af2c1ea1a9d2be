// The tasks beside the sequences: chooses the one for the next turn, and finds those that have been
// stopped or are late.
//
// Tasks and prompts take turns, so that neither starves and decoding waits for only one of them.
// Between tasks: the most urgent first. Urgency is the time since the last turn plus `ageing_ms`
// per level of priority; a task with low priority yields to prompts until it has waited
// `ageing_ms`. A task that keeps a state begins only if there is memory for it. Thread rule: the
// engine's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/request.h"
#include "server/engine/state_memory.h"

namespace lfm2 {

struct OpenTask {
  ModelTask task;
  SteadyTime last_turn;  // before the first turn: its arrival
  int64_t memory = 0;    // for the state that it keeps
  bool started = false;
};

struct EndedTask {
  OpenTask open;
  absl::Status why;
};

class TaskQueue {
 public:
  explicit TaskQueue(int64_t ageing_ms) : ageing_ms_(ageing_ms) {}

  bool empty() const { return tasks_.empty(); }
  void Add(OpenTask open) { tasks_.push_back(std::move(open)); }
  // Removes and returns tasks that were stopped or are late.
  std::vector<EndedTask> TakeEnded(SteadyTime now);
  // Removes and returns the task for the next turn; the caller adds it again if it needs another
  // one. `held`: memory promised to all that have begun. Call it once per iteration: returns
  // nullopt if a task had a turn in the last iteration and a prompt waits.
  std::optional<OpenTask> TakeNext(SteadyTime now, bool prompt_waits, const StateMemory& held);
  std::deque<OpenTask> TakeAll() { return std::exchange(tasks_, {}); }

  void HoldMemory(StateMemory& memory) const;  // for tasks that have begun
  // For the oldest task that has not begun, so that later sequences do not pass it forever.
  void HoldMemoryForNext(StateMemory& memory) const;

 private:
  std::optional<size_t> Next(SteadyTime now, bool prompt_waits, const StateMemory& held) const;
  OpenTask Take(size_t index);

  const int64_t ageing_ms_;
  std::deque<OpenTask> tasks_;
  bool had_turn_ = false;
};

}  // namespace lfm2
