// The tasks beside the sequences: which of them has the next turn, and which nobody waits for.
//
// Tasks and prompts take turns, so that neither starves and decoding waits for one of them only.
// Between tasks: the most urgent, that is, time since the last turn plus `ageing_ms` a level of
// priority; a low one yields to prompts until it has waited `ageing_ms`. One that keeps a state
// begins only where there is memory for it. Thread rule: the engine's thread.
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
  SteadyTime last_turn;  // or its arrival
  int64_t memory = 0;    // of the state that it keeps
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
  // Those that were stopped or are late.
  std::vector<EndedTask> TakeEnded(SteadyTime now);
  // To be added again when it wants another turn. `held`: what is promised to all that have begun.
  // Asked once an iteration: nothing where the last one had a turn and a prompt waits.
  std::optional<OpenTask> TakeNext(SteadyTime now, bool prompt_waits, const StateMemory& held);
  std::deque<OpenTask> TakeAll() { return std::exchange(tasks_, {}); }

  void HoldMemory(StateMemory& memory) const;  // for those that have begun
  // For the oldest one that has not, so that sequences which come after it do not pass it for ever.
  void HoldMemoryForNext(StateMemory& memory) const;

 private:
  std::optional<size_t> Next(SteadyTime now, bool prompt_waits, const StateMemory& held) const;
  OpenTask Take(size_t index);

  const int64_t ageing_ms_;
  std::deque<OpenTask> tasks_;
  bool had_turn_ = false;
};

}  // namespace lfm2
