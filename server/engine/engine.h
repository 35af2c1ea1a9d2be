// The serving engine: one thread owns the device. Requests come in through one bounded queue, token
// events leave through each request's sink.
//
// One iteration: take what is new, drop what is cancelled or late, give one task a turn, plan a
// step, run it lane by lane, deliver. What throws on the way is the failure of what it was called
// for. Thread rule: any thread, but Stop from none of the engine; what is private, on its own
// thread. Ownership: shares each sink until its OnEnd.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mutex.h"
#include "server/engine/metrics.h"
#include "server/engine/request.h"
#include "server/engine/scheduler.h"
#include "server/engine/sequence.h"
#include "server/engine/task_queue.h"
#include "server/engine/waiting_room.h"

namespace lfm2 {

struct EngineStats {
  int64_t steps = 0;
  int64_t waiting = 0;
  int64_t waiting_tokens = 0;
  int64_t running = 0;
  int64_t finished = 0;
  int64_t tokens_generated = 0;
  bool gpu_lost = false;  // a request or a self-test ended with kGpuFault: see SetGpuLost
};

// What a watchdog looks at.
struct EngineProgress {
  int64_t beats = 0;   // calls of a runner, and iterations, that came to their end
  int64_t within = 0;  // moves while a long call of a runner makes progress
  bool busy = false;   // something is accepted and not ended
  SteadyTime since;    // of the last beat, or of the moment that work came
};

class Engine {
 public:
  Engine(const Limits& limits, Clock& clock);
  ~Engine() { Stop(); }

  // Whether one more request of this caller would be taken now: before the work of making it.
  absl::Status CheckRoom(std::string_view tenant) LFM2_EXCLUDES(mutex_);
  // kQueueFull and kTooManyRequests with a retry delay, kDraining. On an error the sink is not
  // called at all.
  absl::Status Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink);
  absl::Status Submit(ModelTask task);

  // Refuses new work from now on; what was accepted goes on. True when all ended within the time.
  bool Drain(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_);
  // Ends every sequence with kDraining and joins the thread. Not from a sink or a task.
  void Stop() LFM2_EXCLUDES(mutex_);
  // Only a new process helps: the stats say so from now on. From any thread, a task's too.
  void SetGpuLost() LFM2_EXCLUDES(mutex_);
  EngineStats stats() const LFM2_EXCLUDES(mutex_);
  EngineProgress progress() const LFM2_EXCLUDES(mutex_);
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
