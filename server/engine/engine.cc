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

// How long all grammars together may delay a step; sequences with slower ones sit the step out.
constexpr std::chrono::milliseconds kGrammarPatience{2};
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

bool Engine::Step(bool after_task) {
  if (sequences_.empty()) return false;
  const SteadyTime now = clock_.Now();
  std::vector<ScheduledSequence> scheduled;
  scheduled.reserve(sequences_.size());
  const auto grammars_until = std::chrono::steady_clock::now() + kGrammarPatience;
  for (const auto& sequence : sequences_) {
    ScheduledSequence entry;
    entry.resting = !sequence->sink()->Ready() || !sequence->ReadyBy(grammars_until);
    entry.lane = &sequence->model();
    entry.pending = sequence->pending();
    entry.drafted = sequence->Draft();
    entry.decoding = sequence->decoding();
    entry.started = sequence->started();
    entry.alone = sequence->alone();
    entry.caller = sequence->tenant();
    entry.priority = sequence->priority();
    entry.waited_ms = Milliseconds(sequence->arrived(), now);
    entry.memory = sequence->memory();
    scheduled.push_back(entry);
  }
  StepLimits limits;
  limits.step_tokens = limits_.step_tokens;
  limits.running_sequences = limits_.running_sequences;
  limits.prompt_chunk_tokens = after_task ? 0 : std::max<int64_t>(limits_.prompt_chunk_tokens, 1);
  limits.ageing_ms = limits_.priority_ageing_ms;
  limits.draft_rows = limits_.speculative_step_tokens;
  limits.memory = HeldMemory();
  tasks_.HoldMemoryForNext(limits.memory);
  const std::vector<LaneStep> steps = PlanStep(scheduled, limits, share_);
  for (const LaneStep& step : steps) StepLane(step);
  return !steps.empty();
}

void Engine::StepLane(const LaneStep& step) {
  std::vector<Chunk> chunks;
  std::vector<StepItem> items;
  for (Chunk chunk : step.chunks) {
    if (!StartIfNew(chunk.sequence)) continue;
    // Tokens found in the prefix cache are no longer pending.
    chunk.tokens = std::min(chunk.tokens, sequences_[chunk.sequence]->pending());
    chunks.push_back(chunk);
    items.push_back(sequences_[chunk.sequence]->NextItem(chunk.tokens, chunk.drafted));
  }
  if (items.empty()) return;
  ModelRunner& runner = *sequences_[chunks.front().sequence]->model().runner;
  const SteadyTime began = clock_.Now();
  BeginWork(runner);
  std::vector<StepOutput> outputs;
  const absl::Status thrown = Guarded("a step", [&] {
    outputs = runner.Step(items);
    return absl::OkStatus();
  });
  Beat();
  if (!thrown.ok()) outputs.assign(items.size(), {thrown, std::nullopt, FaultScope::kBatch});
  outputs.resize(
      items.size(),
      {Error(Reason::kInternal, "the model returned no result for this request"), {}, {}});
  metrics_.ObserveStep(items.size(), clock_.Now() - began);
  {
    MutexLock lock(mutex_);
    ++stats_.steps;
  }
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (outputs[i].status.ok()) {
      Deliver(chunks[i].sequence, chunks[i], std::move(outputs[i]));
    } else {
      Fail(chunks[i].sequence, std::move(outputs[i]), items.size());
    }
  }
}

bool Engine::StartIfNew(size_t index) {
  Sequence& sequence = *sequences_[index];
  if (sequence.started()) return true;
  const SteadyTime now = clock_.Now();
  absl::Status status = Guarded("a start", [&] { return sequence.Start(now); });
  if (!status.ok()) {
    End(index, std::move(status));
    return false;
  }
  metrics_.ObserveStart(now - sequence.arrived(), sequence.reuse(), sequence.prompt_tokens());
  LeaveRoom(sequence.tenant(), sequence.prompt_tokens());
  sequence.sink()->OnStart();
  MutexLock lock(mutex_);
  ++stats_.running;
  return true;
}

void Engine::Deliver(size_t index, const Chunk& chunk, StepOutput output) {
  Sequence& sequence = *sequences_[index];
  if (chunk.tokens < sequence.pending()) return sequence.Advance(chunk.tokens);
  const auto more = static_cast<int64_t>(output.more.size());
  if (!output.sample.has_value() || more > chunk.drafted) {
    sequence.DropState();  // the state has seen more tokens than are counted
    return End(index,
               Error(Reason::kInternal,
                     "the model sampled " +
                         std::string(more == 0 ? "no token" : "more tokens than were drafted") +
                         " for this request"));
  }
  absl::Status status = Guarded("a token", [&] {
    GiveTokens(index, chunk, output);
    return absl::OkStatus();
  });
  if (!status.ok() && sequences_[index] != nullptr) End(index, std::move(status));
}

// Handles each token as if it had its own step, so that the sequence can end between any two of
// them.
void Engine::GiveTokens(size_t index, const Chunk& chunk, const StepOutput& output) {
  sequences_[index]->NoteChecked(static_cast<int64_t>(output.more.size()));
  GiveToken(index, *output.sample);
  int64_t given = 0;
  for (const Sample& sample : output.more) {
    if (sequences_[index] == nullptr) break;
    if (absl::Status status = sequences_[index]->Check(clock_.Now()); !status.ok()) {
      End(index, std::move(status));
      break;
    }
    GiveToken(index, sample);
    ++given;
  }
  metrics_.CountDrafted(chunk.drafted, given);
}

// Ends a sequence whose own item failed; if the batch failed, each sequence is first tried alone.
void Engine::Fail(size_t index, StepOutput output, size_t batch_size) {
  Sequence& sequence = *sequences_[index];
  sequence.DropState();
  const bool may_go_on = output.scope == FaultScope::kBatch && batch_size > 1 &&
                         sequence.can_restart() &&
                         DetailsOf(output.status).reason != Reason::kGpuFault;
  if (!may_go_on) return End(index, std::move(output.status));
  metrics_.CountRestart();
  absl::Status status = Guarded("a restart", [&] { return sequence.Restart(); });
  if (!status.ok()) End(index, std::move(status));
}

void Engine::GiveToken(size_t index, const Sample& sample) {
  Sequence& sequence = *sequences_[index];
  const SteadyTime now = clock_.Now();
  const std::optional<SteadyTime> before = sequence.last_token_at();
  TokenEvent event = sequence.Accept(sample, now);
  metrics_.ObserveToken(before ? now - *before : now - sequence.arrived(), !before.has_value());
  {
    MutexLock lock(mutex_);
    ++stats_.tokens_generated;
  }
  if (!sequence.finished()) {
    if (absl::Status late = sequence.Check(now); !late.ok()) return End(index, std::move(late));
  }
  const bool wanted = sequence.sink()->OnToken(std::move(event));
  if (sequence.finished()) return End(index, absl::OkStatus());
  if (wanted) return;
  absl::Status why = sequence.Check(now);
  End(index,
      why.ok() ? Error(Reason::kSlowReader, "the reader stopped taking tokens") : std::move(why));
}

// Releases the memory and the model before the last call to the sink, so that the receiver finds
// them free.
void Engine::End(size_t index, absl::Status status) {
  std::unique_ptr<Sequence> sequence = std::move(sequences_[index]);
  const bool started = sequence->started();
  const SteadyTime now = clock_.Now();
  if (DetailsOf(status).reason == Reason::kGpuFault) SetGpuLost();
  (void)Guarded("giving a state back", [&] {
    sequence->GiveStateBack();
    return absl::OkStatus();
  });
  GenerateEnd end = sequence->End(std::move(status), now);
  std::shared_ptr<TokenSink> sink = sequence->sink();
  metrics_.ObserveEnd(end, now - sequence->arrived());
  if (!started) LeaveRoom(sequence->tenant(), sequence->prompt_tokens());
  sequence.reset();
  {
    MutexLock lock(mutex_);
    if (started) --stats_.running;
    ++stats_.finished;
  }
  (void)Guarded("the end of a request", [&] {
    sink->OnEnd(std::move(end));
    return absl::OkStatus();
  });
  sink.reset();
  NoteEnded();
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
