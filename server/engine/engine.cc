#include "server/engine/engine.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/engine/elapsed.h"
#include "server/engine/guarded.h"

namespace lfm2 {
namespace {

constexpr std::chrono::milliseconds kRest{1};

absl::Status DrainingError() {
  return Error(Reason::kDraining, "the engine takes no new work: it is stopping");
}

}  // namespace

Engine::Engine(const Limits& limits, Clock& clock)
    : limits_(limits),
      clock_(clock),
      tasks_(limits.priority_ageing_ms),
      room_(limits),
      since_(clock.Now()),
      thread_([this] { Run(); }) {}

absl::Status Engine::CheckRoom(std::string_view tenant) {
  MutexLock lock(mutex_);
  return draining_ ? DrainingError() : room_.Check(tenant, 0);
}

absl::Status Engine::Submit(GenerateRequest request, std::shared_ptr<TokenSink> sink) {
  auto sequence = std::make_unique<Sequence>(std::move(request), std::move(sink), clock_.Now(),
                                             limits_.speculative_tokens);
  const std::string tenant = sequence->tenant();
  const int64_t tokens = sequence->prompt_tokens();
  LFM2_RETURN_IF_ERROR(sequence->CheckMemory());
  return Accept(tenant, tokens, std::move(sequence));
}

absl::Status Engine::Submit(ModelTask task) {
  const std::string tenant = task.tenant;
  const int64_t tokens = task.tokens;
  const ModelRunner& runner = *task.model->runner;
  const int64_t memory = task.keeps_state ? runner.StateMemory(tokens) : 0;
  LFM2_RETURN_IF_ERROR(CheckStateMemory(runner, tokens, memory));
  return Accept(tenant, tokens, OpenTask{std::move(task), clock_.Now(), memory});
}

absl::Status Engine::Accept(std::string_view tenant, int64_t tokens, Arrival arrival) {
  const SteadyTime now = clock_.Now();
  absl::Status status;
  {
    MutexLock lock(mutex_);
    status = draining_ ? DrainingError() : room_.Enter(tenant, tokens);
    if (status.ok()) {
      if (open_++ == 0) since_ = now;
      inbox_.push_back(std::move(arrival));
    }
  }
  if (status.ok()) arrived_.NotifyOne();
  return status;
}

bool Engine::Drain(std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mutex_);
  if (!draining_) drain_began_ = clock_.Now();
  draining_ = true;
  while (open_ > 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    ended_.WaitFor(mutex_, left);
  }
  return true;
}

void Engine::Stop() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
    stopping_ = true;
  }
  arrived_.NotifyAll();
  MutexLock lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void Engine::SetGpuLost() {
  MutexLock lock(mutex_);
  stats_.gpu_lost = true;
}

EngineStats Engine::stats() const {
  MutexLock lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting = room_.requests();
  stats.waiting_tokens = room_.tokens();
  return stats;
}

EngineProgress Engine::progress() const {
  MutexLock lock(mutex_);
  const int64_t within = at_work_ == nullptr ? 0 : at_work_->progress();
  return {beats_, within, open_ > 0, since_};
}

void Engine::Run() {
  while (TakeArrivals()) {
    DropEnded();
    DropEndedTasks();
    const bool after_task = RunTask();
    const bool stepped = Step(after_task);
    sequences_.erase(std::remove(sequences_.begin(), sequences_.end(), nullptr), sequences_.end());
    Beat();
    if (!after_task && !stepped && !sequences_.empty()) Rest();
  }
  EndEverything();
}

void Engine::Beat() {
  const SteadyTime now = clock_.Now();
  MutexLock lock(mutex_);
  ++beats_;
  since_ = now;
  at_work_ = nullptr;
}

void Engine::BeginWork(const ModelRunner& runner) {
  MutexLock lock(mutex_);
  at_work_ = &runner;
}

bool Engine::TakeArrivals() {
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
    if (auto* sequence = std::get_if<std::unique_ptr<Sequence>>(&arrival)) {
      sequences_.push_back(std::move(*sequence));
    } else {
      tasks_.Add(std::get<OpenTask>(std::move(arrival)));
    }
  }
  return go_on;
}

void Engine::DropEnded() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    absl::Status status = sequences_[i]->Check(clock_.Now());
    if (!status.ok() || sequences_[i]->finished()) End(i, std::move(status));
  }
  sequences_.erase(std::remove(sequences_.begin(), sequences_.end(), nullptr), sequences_.end());
}

void Engine::DropEndedTasks() {
  for (EndedTask& ended : tasks_.TakeEnded(clock_.Now())) {
    FinishTask(std::move(ended.open), std::move(ended.why));
  }
}

bool Engine::PromptWaits() const {
  return std::any_of(sequences_.begin(), sequences_.end(),
                     [](const auto& sequence) { return !sequence->decoding(); });
}

bool Engine::RunTask() {
  if (tasks_.empty()) return false;
  std::optional<OpenTask> next = tasks_.TakeNext(clock_.Now(), PromptWaits(), HeldMemory());
  if (!next) return false;
  OpenTask open = *std::move(next);
  if (!open.started) LeaveRoom(open.task.tenant, open.task.tokens);
  open.started = true;
  bool more = false;
  BeginWork(*open.task.model->runner);
  absl::Status status = Guarded("a task", [&] {
    more = open.task.run(*open.task.model->runner);
    return absl::OkStatus();
  });
  Beat();
  open.last_turn = clock_.Now();
  if (status.ok() && more) {
    tasks_.Add(std::move(open));
  } else {
    FinishTask(std::move(open), std::move(status));
  }
  return true;
}

// `status` is OK if the task has finished. Releases the model before the last call to the task's
// owner.
void Engine::FinishTask(OpenTask open, absl::Status status) {
  if (!open.started) LeaveRoom(open.task.tenant, open.task.tokens);
  const auto dropped = std::move(open.task.dropped);
  open.task = ModelTask();
  if (!status.ok() && dropped) {
    (void)Guarded("the end of a task", [&] {
      dropped(std::move(status));
      return absl::OkStatus();
    });
  }
  NoteEnded();
}

StateMemory Engine::HeldMemory() const {
  StateMemory memory;
  for (const auto& sequence : sequences_) {
    const LoadedModel* const lane = &sequence->model();
    memory.SetLimit(lane, lane->runner->state_memory_limit());
    if (sequence->started()) memory.Hold(lane, sequence->memory());
  }
  tasks_.HoldMemory(memory);
  return memory;
}

void Engine::Rest() {
  MutexLock lock(mutex_);
  if (inbox_.empty() && !stopping_) arrived_.WaitFor(mutex_, kRest);
}

absl::Status Engine::CutError(const Sequence& sequence) {
  if (sequence.completion_tokens() == 0) return DrainingError();
  const SteadyTime now = clock_.Now();
  MutexLock lock(mutex_);
  const int64_t waited = Milliseconds(drain_began_.value_or(now), now);
  return Error(Reason::kDraining,
               "stopped after " + std::to_string(waited) + " ms while tokens were being generated");
}

void Engine::EndEverything() {
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (sequences_[i] != nullptr) {
      End(i, sequences_[i]->finished() ? absl::OkStatus() : CutError(*sequences_[i]));
    }
  }
  sequences_.clear();
  for (OpenTask& open : tasks_.TakeAll()) FinishTask(std::move(open), DrainingError());
}

void Engine::LeaveRoom(std::string_view tenant, int64_t tokens) {
  const SteadyTime now = clock_.Now();
  MutexLock lock(mutex_);
  room_.Leave(tenant, tokens, now);
}

void Engine::NoteEnded() {
  MutexLock lock(mutex_);
  if (--open_ == 0) ended_.NotifyAll();
}

}  // namespace lfm2
