// Engine: one step of the running sequences, and what becomes of each.
#include <algorithm>
#include <string>
#include <utility>

#include "base/errors.h"
#include "server/engine/elapsed.h"
#include "server/engine/engine.h"
#include "server/engine/guarded.h"

namespace lfm2 {
namespace {

// How long all grammars together may delay a step; sequences with slower ones sit the step out.
constexpr std::chrono::milliseconds kGrammarPatience{2};

}  // namespace

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

}  // namespace lfm2
