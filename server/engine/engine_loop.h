// The engine's thread and what it shares with the others; server/engine/engine.h is its face.
//
// One iteration: take what is new, drop what is cancelled or late, give one task a turn, plan a
// step, run it lane by lane, deliver. What throws on the way is the failure of what it was called
// for. Thread rule: the public functions from any thread; the rest on the loop's own.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "server/engine/engine.h"
#include "server/engine/metrics.h"
#include "server/engine/scheduler.h"
#include "server/engine/sequence.h"
#include "server/engine/task_queue.h"
#include "server/engine/waiting_room.h"

namespace lfm2 {

class EngineLoop {
 public:
  EngineLoop(const Limits& limits, Clock& clock);
  ~EngineLoop() { Stop(); }

  absl::Status CheckRoom(std::string_view tenant) LFM2_EXCLUDES(mutex_);
  absl::Status Submit(std::unique_ptr<Sequence> sequence);
  absl::Status Submit(ModelTask task);
  bool Drain(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_);
  void Stop() LFM2_EXCLUDES(mutex_);
  void SetGpuLost() LFM2_EXCLUDES(mutex_);
  EngineStats stats() const LFM2_EXCLUDES(mutex_);
  EngineProgress progress() const LFM2_EXCLUDES(mutex_);
  SteadyTime Now() const { return clock_.Now(); }
  Metrics& metrics() { return metrics_; }

 private:
  using Arrival = std::variant<std::unique_ptr<Sequence>, OpenTask>;

  absl::Status Accept(std::string_view tenant, int64_t tokens, Arrival arrival)
      LFM2_EXCLUDES(mutex_);
  void Run();
  // Waits while there is nothing at all to do. False when the loop must end.
  bool TakeArrivals() LFM2_EXCLUDES(mutex_);
  void DropEnded();
  void DropEndedTasks();
  // Gives one task a turn; whether there was one.
  bool RunTask();
  void FinishTask(OpenTask task, absl::Status status);
  // What is promised to those that have begun.
  StateMemory HeldMemory() const;
  // Whether anything went through a model.
  bool Step(bool after_task);
  // A moment in which readers and grammars may catch up: everybody sat the step out.
  void Rest() LFM2_EXCLUDES(mutex_);
  void StepLane(const LaneStep& step);
  bool StartIfNew(size_t index);
  void Deliver(size_t index, const Chunk& chunk, StepOutput output);
  void Fail(size_t index, StepOutput output, size_t batch_size);
  void GiveTokens(size_t index, const Chunk& chunk, const StepOutput& output);
  void GiveToken(size_t index, const Sample& sample);
  void End(size_t index, absl::Status status);
  void EndEverything();
  absl::Status CutError(const Sequence& sequence) LFM2_EXCLUDES(mutex_);
  void LeaveRoom(std::string_view tenant, int64_t tokens) LFM2_EXCLUDES(mutex_);
  void NoteEnded() LFM2_EXCLUDES(mutex_);
  void BeginWork(const ModelRunner& runner) LFM2_EXCLUDES(mutex_);
  void Beat() LFM2_EXCLUDES(mutex_);
  bool PromptWaits() const;

  const Limits limits_;
  Clock& clock_;
  Metrics metrics_;

  // Of the loop's thread. Null entries have ended and go at the end of the iteration.
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  TaskQueue tasks_;
  FairShare share_;

  mutable Mutex mutex_;
  CondVar arrived_;                                    // inbox_ or stopping_ changed
  CondVar ended_;                                      // open_ became 0
  std::deque<Arrival> inbox_ LFM2_GUARDED_BY(mutex_);  // bounded by room_
  WaitingRoom room_ LFM2_GUARDED_BY(mutex_);
  bool draining_ LFM2_GUARDED_BY(mutex_) = false;
  std::optional<SteadyTime> drain_began_ LFM2_GUARDED_BY(mutex_);
  bool stopping_ LFM2_GUARDED_BY(mutex_) = false;
  int64_t open_ LFM2_GUARDED_BY(mutex_) = 0;  // accepted, and the last call about it is not through
  int64_t beats_ LFM2_GUARDED_BY(mutex_) = 0;
  SteadyTime since_ LFM2_GUARDED_BY(mutex_);  // the last beat, or the end of idleness
  const ModelRunner* at_work_ LFM2_GUARDED_BY(mutex_) = nullptr;  // from BeginWork to Beat
  EngineStats stats_ LFM2_GUARDED_BY(mutex_);

  Mutex join_mutex_;    // one caller of Stop joins, the others wait for it
  std::thread thread_;  // last: everything above is there when it starts
};

}  // namespace lfm2
