#include "server/engine/engine.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "model/core/errors.h"
#include "server/base/mutex.h"
#include "server/engine/scheduler.h"
#include "server/engine/sequence.h"

namespace lfm2 {
namespace {

constexpr int64_t kQueueRetryMs = 1000;

struct Arrival {
  std::variant<std::unique_ptr<Sequence>, ModelTask> work;
};

absl::Status DrainingError() {
  return Error(Reason::kDraining, "the engine takes no new work: it is stopping");
}

}  // namespace

class Engine::Loop {
 public:
  Loop(const Limits& limits, Clock& clock)
      : limits_(limits),
        step_limits_{limits.step_tokens, limits.running_sequences},
        clock_(clock),
        thread_([this] { Run(); }) {}
  ~Loop() { Stop(); }

  absl::Status Submit(Arrival arrival);
  bool Drain(std::chrono::milliseconds timeout);
  void Stop();
  EngineStats stats() const {
    MutexLock lock(mutex_);
    return stats_;
  }
  SteadyTime Now() const { return clock_.Now(); }

 private:
  void Run();
  // Waits while there is nothing at all to do. False when the loop must end.
  bool TakeArrivals();
  void DropEnded();
  void RunOneTask();
  void Step();
  void StepLane(const LaneStep& step);
  bool StartIfNew(size_t index);
  void Deliver(size_t index, int64_t tokens, StepOutput output);
  void End(size_t index, absl::Status status);
  void DropTask(ModelTask task, absl::Status status);
  void EndEverything();
  void NoteEnded();

  const Limits limits_;
  const StepLimits step_limits_;
  Clock& clock_;

  // Of the loop's thread. Null entries have ended and go at the end of the iteration.
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  std::deque<ModelTask> tasks_;

  mutable Mutex mutex_;
  CondVar arrived_;                                    // inbox_ or stopping_ changed
  CondVar ended_;                                      // open_ became 0
  std::deque<Arrival> inbox_ LFM2_GUARDED_BY(mutex_);  // bounded by stats_.waiting
  bool draining_ LFM2_GUARDED_BY(mutex_) = false;
  bool stopping_ LFM2_GUARDED_BY(mutex_) = false;
  // accepted, and the last call about it has not returned
  int64_t open_ LFM2_GUARDED_BY(mutex_) = 0;
  EngineStats stats_ LFM2_GUARDED_BY(mutex_);

  Mutex join_mutex_;    // one caller of Stop joins, the others wait for it
  std::thread thread_;  // last: everything above is there when it starts
};

absl::Status Engine::Loop::Submit(Arrival arrival) {
  {
    MutexLock lock(mutex_);
    if (draining_) return DrainingError();
    if (stats_.waiting >= limits_.waiting_requests) {
      return RetryLater(Reason::kQueueFull,
                        std::to_string(stats_.waiting) + " requests are waiting, the limit is " +
                            std::to_string(limits_.waiting_requests),
                        kQueueRetryMs);
    }
    ++stats_.waiting;
    ++open_;
    inbox_.push_back(std::move(arrival));
  }
  arrived_.NotifyOne();
  return absl::OkStatus();
}

bool Engine::Loop::Drain(std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mutex_);
  draining_ = true;
  while (open_ > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    ended_.WaitFor(mutex_, left);
  }
  return true;
}

void Engine::Loop::Stop() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
    stopping_ = true;
  }
  arrived_.NotifyAll();
  MutexLock lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void Engine::Loop::Run() {
  while (TakeArrivals()) {
    DropEnded();
    RunOneTask();
    Step();
    sequences_.erase(std::remove(sequences_.begin(), sequences_.end(), nullptr), sequences_.end());
  }
  EndEverything();
}

bool Engine::Loop::TakeArrivals() {
  std::deque<Arrival> arrivals;
  bool go_on = true;
  {
    MutexLock lock(mutex_);
    while (sequences_.empty() && tasks_.empty() && inbox_.empty() && !stopping_) {
      arrived_.Wait(mutex_);
    }
    arrivals.swap(inbox_);
    go_on = !stopping_;
  }
  for (Arrival& arrival : arrivals) {
    if (auto* sequence = std::get_if<std::unique_ptr<Sequence>>(&arrival.work)) {
      sequences_.push_back(std::move(*sequence));
    } else {
      tasks_.push_back(std::get<ModelTask>(std::move(arrival.work)));
    }
  }
  return go_on;
}

void Engine::Loop::DropEnded() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    absl::Status status = sequences_[i]->Check(clock_.Now());
    if (!status.ok() || sequences_[i]->finished()) End(i, std::move(status));
  }
  sequences_.erase(std::remove(sequences_.begin(), sequences_.end(), nullptr), sequences_.end());
}

// One between two steps, so that many of them delay decoding by one of them at a time.
void Engine::Loop::RunOneTask() {
  if (tasks_.empty()) return;
  ModelTask task = std::move(tasks_.front());
  tasks_.pop_front();
  if (clock_.Now() >= task.deadline) {
    DropTask(std::move(task), Error(Reason::kDeadlineInQueue,
                                    "the deadline passed while the work waited for the model"));
    return;
  }
  {
    MutexLock lock(mutex_);
    --stats_.waiting;
  }
  task.run(*task.model->runner);
  task = ModelTask();
  NoteEnded();
}

void Engine::Loop::Step() {
  if (sequences_.empty()) return;
  std::vector<ScheduledSequence> scheduled;
  scheduled.reserve(sequences_.size());
  for (const auto& sequence : sequences_) {
    scheduled.push_back({&sequence->model(), sequence->pending(), sequence->decoding()});
  }
  for (const LaneStep& step : PlanStep(scheduled, step_limits_)) StepLane(step);
}

void Engine::Loop::StepLane(const LaneStep& step) {
  std::vector<Chunk> chunks;
  std::vector<StepItem> items;
  for (Chunk chunk : step.chunks) {
    if (!StartIfNew(chunk.sequence)) continue;
    // A prefix that the runner keeps leaves less to do than was planned before the start.
    chunk.tokens = std::min(chunk.tokens, sequences_[chunk.sequence]->pending());
    chunks.push_back(chunk);
    items.push_back(sequences_[chunk.sequence]->NextItem(chunk.tokens));
  }
  if (items.empty()) return;
  ModelRunner& runner = *sequences_[chunks.front().sequence]->model().runner;
  std::vector<StepOutput> outputs = runner.Step(items);
  outputs.resize(items.size(),
                 {Error(Reason::kInternal, "the model gave no answer for this request"), {}});
  {
    MutexLock lock(mutex_);
    ++stats_.steps;
  }
  for (size_t i = 0; i < chunks.size(); ++i) {
    Deliver(chunks[i].sequence, chunks[i].tokens, std::move(outputs[i]));
  }
}

bool Engine::Loop::StartIfNew(size_t index) {
  if (sequences_[index]->started()) return true;
  if (absl::Status status = sequences_[index]->Start(clock_.Now()); !status.ok()) {
    End(index, std::move(status));
    return false;
  }
  MutexLock lock(mutex_);
  --stats_.waiting;
  ++stats_.running;
  return true;
}

void Engine::Loop::Deliver(size_t index, int64_t tokens, StepOutput output) {
  Sequence& sequence = *sequences_[index];
  const bool samples = tokens == sequence.pending();
  if (output.status.ok() && samples && !output.sample.has_value()) {
    output.status = Error(Reason::kInternal, "the model sampled no token for this request");
  }
  if (!output.status.ok()) {
    sequence.DropState();
    return End(index, std::move(output.status));
  }
  if (!samples) return sequence.Advance(tokens);
  TokenEvent event = sequence.Accept(*output.sample, clock_.Now());
  {
    MutexLock lock(mutex_);
    ++stats_.tokens_generated;
  }
  const bool wanted = sequence.sink()->OnToken(std::move(event));
  if (sequence.finished()) return End(index, absl::OkStatus());
  if (wanted) return;
  End(index, sequence.sink()->cancelled()
                 ? Error(Reason::kCancelled, "the caller cancelled")
                 : Error(Reason::kSlowReader, "the reader took no more tokens"));
}

// The memory and the model are given back before the last call, so whoever hears it sees them free.
void Engine::Loop::End(size_t index, absl::Status status) {
  std::unique_ptr<Sequence> sequence = std::move(sequences_[index]);
  const bool started = sequence->started();
  GenerateEnd end = sequence->End(std::move(status), clock_.Now());
  std::shared_ptr<TokenSink> sink = sequence->sink();
  sequence.reset();
  {
    MutexLock lock(mutex_);
    --(started ? stats_.running : stats_.waiting);
    ++stats_.finished;
  }
  sink->OnEnd(std::move(end));
  sink.reset();
  NoteEnded();
}

void Engine::Loop::DropTask(ModelTask task, absl::Status status) {
  {
    MutexLock lock(mutex_);
    --stats_.waiting;
  }
  const auto dropped = std::move(task.dropped);
  task = ModelTask();
  if (dropped) dropped(std::move(status));
  NoteEnded();
}

void Engine::Loop::EndEverything() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i] != nullptr) {
      End(i, sequences_[i]->finished() ? absl::OkStatus() : DrainingError());
    }
  }
  sequences_.clear();
  while (!tasks_.empty()) {
    ModelTask task = std::move(tasks_.front());
    tasks_.pop_front();
    DropTask(std::move(task), DrainingError());
  }
}

void Engine::Loop::NoteEnded() {
  MutexLock lock(mutex_);
  if (--open_ == 0) ended_.NotifyAll();
}

Engine::Engine(const Limits& limits, Clock& clock) : loop_(std::make_unique<Loop>(limits, clock)) {}
Engine::~Engine() = default;

absl::Status Engine::Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink) {
  return loop_->Submit(
      {std::make_unique<Sequence>(std::move(request), std::move(sink), loop_->Now())});
}

absl::Status Engine::Submit(ModelTask task) { return loop_->Submit({std::move(task)}); }
bool Engine::Drain(std::chrono::milliseconds timeout) { return loop_->Drain(timeout); }
void Engine::Stop() { loop_->Stop(); }
EngineStats Engine::stats() const { return loop_->stats(); }

}  // namespace lfm2
