// The serving engine: one thread owns the device. Requests enter through one bounded queue; token
// events leave through each request's sink.
//
// One iteration: take new requests, drop cancelled and late ones, give one task a turn, plan a
// step, run it lane by lane, deliver the tokens. An exception fails only the request or task for
// which the call was made. Thread rule: public methods from any thread, except Stop, which the
// engine's own thread must not call; private ones run on the engine's thread. Ownership: shares
// each sink until its OnEnd.
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
  bool gpu_lost = false;  // a request or a self-test failed with kGpuFault: see SetGpuLost
};

// The engine's progress, for the watchdog.
struct EngineProgress {
  int64_t beats = 0;   // finished runner calls and iterations
  int64_t within = 0;  // changes while a long runner call makes progress
  bool busy = false;   // an accepted request or task has not ended
  SteadyTime since;    // of the last beat, or of the arrival of work after idleness
};

class Engine {
 public:
  Engine(const Limits& limits, Clock& clock);
  ~Engine() { Stop(); }

  // Whether one more request of this caller would be accepted now; to call before preparing the
  // request.
  absl::Status CheckRoom(std::string_view tenant) LFM2_EXCLUDES(mutex_);
  // kQueueFull and kTooManyRequests with a retry delay, kDraining. After an error the sink is never
  // called.
  absl::Status Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink);
  absl::Status Submit(ModelTask task);

  // Refuses new work from now on; accepted work continues. True if all of it ended within the time.
  bool Drain(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_);
  // Ends every sequence with kDraining and joins the thread. Must not be called from a sink or a
  // task.
  void Stop() LFM2_EXCLUDES(mutex_);
  // Records in the stats that the GPU is lost until the process is restarted. From any thread, also
  // from a task.
  void SetGpuLost() LFM2_EXCLUDES(mutex_);
  EngineStats stats() const LFM2_EXCLUDES(mutex_);
  EngineProgress progress() const LFM2_EXCLUDES(mutex_);
  Metrics& metrics() { return metrics_; }

 private:
  using Arrival = std::variant<std::unique_ptr<Sequence>, OpenTask>;

  absl::Status Accept(std::string_view tenant, int64_t tokens, Arrival arrival)
      LFM2_EXCLUDES(mutex_);
  void Run();
  // Waits while there is no work. False if the loop must end.
  bool TakeArrivals() LFM2_EXCLUDES(mutex_);
  void DropEnded();
  void DropEndedTasks();
  // Gives one task a turn; false if no task could run.
  bool RunTask();
  void FinishTask(OpenTask task, absl::Status status);
  // The memory promised to sequences and tasks that have begun.
  StateMemory HeldMemory() const;
  // Returns whether any token was run through a model.
  bool Step(bool after_task);
  // Waits a short time for readers and grammars, because every sequence is resting.
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

  // For the loop's thread only. Null entries have ended and are removed at the end of the
  // iteration.
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
  int64_t open_ LFM2_GUARDED_BY(mutex_) = 0;  // accepted; the last call to its owner has not ended
  int64_t beats_ LFM2_GUARDED_BY(mutex_) = 0;
  SteadyTime since_ LFM2_GUARDED_BY(mutex_);  // the last beat, or the end of idleness
  const ModelRunner* at_work_ LFM2_GUARDED_BY(mutex_) = nullptr;  // from BeginWork to Beat
  EngineStats stats_ LFM2_GUARDED_BY(mutex_);

  Mutex join_mutex_;    // one caller of Stop joins; the others wait for it
  std::thread thread_;  // last member: starts when all others are initialized
};

}  // namespace lfm2
