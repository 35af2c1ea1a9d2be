#include "server/engine/cpu_runner.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/cpu/decoder.h"
#include "model/cpu/parity.h"
#include "model/cpu/prefix_cache.h"
#include "model/sampling/sampler.h"
#include "server/engine/row_check.h"

namespace lfm2 {
namespace {

// Rows of one forward pass: bounds the scratch memory for any step budget. The value does not
// affect results, since a pass may be split anywhere.
constexpr int64_t kForwardRows = 512;
constexpr int64_t kScoreRows = 64;  // all rows have logits

absl::Status NoMemory() {
  return Error(Reason::kOutOfMemory, "there is no memory for this request");
}

class CpuRunnerState : public RunnerState {
 public:
  CpuRunnerState(const StateShape& shape, BlockPool& pool, int64_t checkpoint_tokens)
      : sequence(shape, pool, checkpoint_tokens) {}
  CpuState sequence;
};

CpuState& StateOf(RunnerState* state) { return static_cast<CpuRunnerState*>(state)->sequence; }

class CpuProbePass : public ProbePass {
 public:
  CpuProbePass(CpuDecoder& decoder, BlockPool& pool)
      : decoder_(decoder), state_(decoder.state_shape(), pool, /*checkpoint_tokens=*/0) {}

  absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report) override {
    try {
      return RunCpuParity(decoder_, state_, tokens, report);
    } catch (const std::bad_alloc&) {
      return NoMemory();
    }
  }

 private:
  CpuDecoder& decoder_;
  CpuState state_;
};

class CpuRunner : public ModelRunner {
 public:
  CpuRunner(std::shared_ptr<const CpuWeights> weights, std::shared_ptr<ThreadPool> pool,
            const CpuRunnerOptions& options)
      : options_(options),
        pool_(std::move(pool)),
        decoder_(std::move(weights), *pool_),
        blocks_(std::max<int64_t>(1, decoder_.state_shape().block_bytes()), options.kv_bytes),
        cache_(decoder_.state_shape(), blocks_, options.prefix_cache_bytes) {}

  absl::StatusOr<NewState> Start(const StateRequest& request) override;
  void Retire(std::unique_ptr<RunnerState> state, std::span<const int32_t> tokens,
              std::string_view tenant) override;
  bool verifies_drafts() const override { return true; }
  std::vector<StepOutput> Step(std::span<const StepItem> items) override;
  absl::StatusOr<std::vector<float>> ScoreChunk(RunnerState& state,
                                                std::span<const int32_t> tokens) override;
  int64_t StateMemory(int64_t tokens) const override;
  int64_t state_memory_limit() const override;
  int64_t progress() const override { return decoder_.stages_run(); }
  absl::StatusOr<std::unique_ptr<ProbePass>> StartProbe() override;
  BlockUsage blocks() const override {
    const int64_t cached = blocks_.kept();
    return {std::max<int64_t>(0, blocks_.in_use() - cached), cached, blocks_.capacity()};
  }

 private:
  // The part of an item that is run.
  struct Work {
    std::vector<int32_t> text;     // its history and its draft; empty without a draft
    std::span<const int32_t> run;  // the tokens, then the draft
    int64_t drafted = 0;
  };
  // Spans that are run through the model together, and their items.
  struct Batch {
    std::vector<CpuSpan> spans;
    std::vector<size_t> items;  // of each span
    int64_t rows = 0;
  };

  int64_t vocab_size() const { return decoder_.weights().config().vocab_size; }
  absl::Status Admit(const StepItem& item) const;
  Work WorkOf(const StepItem& item) const;
  absl::Status RunItems(std::span<const StepItem> items, std::vector<StepOutput>& outputs);
  absl::Status RunBatch(std::span<const StepItem> items, std::span<const Work> work, Batch& batch,
                        std::vector<StepOutput>& outputs);
  absl::Status ScoreRows(CpuState& state, std::span<const int32_t> tokens,
                         std::vector<float>& scores);

  const CpuRunnerOptions options_;
  const std::shared_ptr<ThreadPool> pool_;
  CpuDecoder decoder_;
  BlockPool blocks_;
  PrefixCache cache_;
};

absl::StatusOr<NewState> CpuRunner::Start(const StateRequest& request) {
  try {
    const bool cached = request.use_cache && options_.prefix_cache_bytes > 0;
    auto state = std::make_unique<CpuRunnerState>(decoder_.state_shape(), blocks_,
                                                  cached ? options_.checkpoint_tokens : 0);
    NewState out;
    out.reuse.miss = PrefixMiss::kDisabled;
    if (cached && !request.prompt.empty()) {
      out.reuse = cache_.Resume(request.tenant, request.prompt, state->sequence);
    }
    out.state = std::move(state);
    return out;
  } catch (const std::bad_alloc&) {
    return NoMemory();
  }
}

void CpuRunner::Retire(std::unique_ptr<RunnerState> state, std::span<const int32_t> tokens,
                       std::string_view tenant) {
  try {
    CpuState& sequence = StateOf(state.get());
    if (sequence.RollBack(static_cast<int64_t>(tokens.size())).ok()) {
      cache_.Insert(tenant, tokens, sequence);
    }
  } catch (const std::bad_alloc&) {
    // Not cached: it will be computed again.
  }
}

// In bytes: the blocks, one more while a shared block is copied, and the recurrent states kept for
// the cache.
int64_t CpuRunner::StateMemory(int64_t tokens) const {
  const StateShape& shape = decoder_.state_shape();
  const int64_t recurrent = shape.convs * shape.conv_floats() + shape.ssms * shape.ssm_floats();
  const bool leaves = shape.needs_checkpoints() && options_.prefix_cache_bytes > 0 &&
                      options_.checkpoint_tokens > 0;
  const int64_t states = 1 + (leaves ? tokens / options_.checkpoint_tokens : 0);
  const int64_t blocks = (tokens + kKvBlockTokens - 1) / kKvBlockTokens + 1;
  return (shape.block_bytes() > 0 ? blocks * blocks_.block_bytes() : 0) +
         states * recurrent * static_cast<int64_t>(sizeof(float));
}

int64_t CpuRunner::state_memory_limit() const {
  return decoder_.state_shape().block_bytes() > 0 ? blocks_.capacity() * blocks_.block_bytes()
                                                  : options_.kv_bytes;
}

// Checks for errors that affect only one item.
absl::Status CpuRunner::Admit(const StepItem& item) const {
  if (item.tokens.empty()) return Error(Reason::kInvalidArgument, "a step without a token");
  LFM2_RETURN_IF_ERROR(CheckTokens(item.tokens, vocab_size()));
  LFM2_RETURN_IF_ERROR(CheckTokens(item.draft, vocab_size()));
  return StateOf(item.state).Reserve(static_cast<int64_t>(item.tokens.size()));
}

std::vector<StepOutput> CpuRunner::Step(std::span<const StepItem> items) {
  std::vector<StepOutput> outputs(items.size());
  absl::Status status;
  try {
    status = RunItems(items, outputs);
  } catch (const std::bad_alloc&) {
    status = NoMemory();
  }
  if (!status.ok()) {
    for (StepOutput& output : outputs) {
      if (output.status.ok()) output = {status, std::nullopt, FaultScope::kBatch};
    }
  }
  return outputs;
}

// Takes as much of the draft as fits in one forward pass, or none if there is no memory for it: a
// draft must not end a sequence that has memory for its own token.
CpuRunner::Work CpuRunner::WorkOf(const StepItem& item) const {
  Work work;
  work.run = item.tokens;
  const size_t drafted = item.sample ? std::min<size_t>(item.draft.size(), kForwardRows - 1) : 0;
  if (drafted == 0) return work;
  const size_t tokens = item.tokens.size();
  if (!StateOf(item.state).Reserve(static_cast<int64_t>(tokens + drafted)).ok()) {
    StateOf(item.state).ReleaseSpareBlocks();
    (void)StateOf(item.state).Reserve(static_cast<int64_t>(tokens));
    return work;
  }
  work.text.reserve(item.history.size() + drafted);
  work.text.assign(item.history.begin(), item.history.end());
  work.text.insert(work.text.end(), item.draft.begin(),
                   item.draft.begin() + static_cast<std::ptrdiff_t>(drafted));
  work.run = std::span<const int32_t>(work.text).last(tokens + drafted);
  work.drafted = static_cast<int64_t>(drafted);
  return work;
}

absl::Status CpuRunner::RunItems(std::span<const StepItem> items,
                                 std::vector<StepOutput>& outputs) {
  for (size_t i = 0; i < items.size(); ++i) outputs[i].status = Admit(items[i]);
  std::vector<Work> work(items.size());
  Batch batch;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!outputs[i].status.ok()) continue;
    work[i] = WorkOf(items[i]);
    // Drafted tokens are never separated from each other or from the token before them.
    const int64_t last = work[i].drafted + 1;
    for (std::span<const int32_t> left = work[i].run; !left.empty();) {
      const auto size = static_cast<int64_t>(left.size());
      const int64_t room = kForwardRows - batch.rows;
      const int64_t rows = size <= room ? size : std::min(room, size - last);
      if (rows > 0) {
        const bool logits = items[i].sample && rows == size;
        batch.spans.push_back({left.first(static_cast<size_t>(rows)), &StateOf(items[i].state),
                               logits ? LogitRows::kLast : LogitRows::kNone,
                               logits ? work[i].drafted : 0});
        batch.items.push_back(i);
        batch.rows += rows;
        left = left.subspan(static_cast<size_t>(rows));
      }
      if (batch.rows == kForwardRows || rows == 0) {
        LFM2_RETURN_IF_ERROR(RunBatch(items, work, batch, outputs));
      }
    }
  }
  return batch.rows == 0 ? absl::OkStatus() : RunBatch(items, work, batch, outputs);
}

// From the samples after an item's tokens and after each drafted token, takes those that single
// steps would have given, and rolls the state back to the last correct drafted token. A later
// sample whose logits are not finite is left to the next step, which reports the error.
StepOutput TakeConfirmed(std::span<StepOutput> samples, const StepItem& item, CpuState& state) {
  StepOutput output = std::move(samples[0]);
  if (!output.status.ok()) return output;
  const size_t drafted = samples.size() - 1;
  int32_t last = output.sample->id;
  while (output.more.size() < drafted && last == item.draft[output.more.size()]) {
    const StepOutput& next = samples[output.more.size() + 1];
    if (!next.status.ok()) break;
    last = next.sample->id;
    output.more.push_back(*next.sample);
  }
  output.status =
      state.RollBack(state.position() - static_cast<int64_t>(drafted - output.more.size()));
  return output;
}

absl::Status CpuRunner::RunBatch(std::span<const StepItem> items, std::span<const Work> work,
                                 Batch& batch, std::vector<StepOutput>& outputs) {
  LFM2_ASSIGN_OR_RETURN(const std::span<const float> logits, decoder_.Forward(batch.spans));
  std::vector<std::pair<size_t, size_t>> rows;  // per row of logits: item, drafted tokens before
  for (size_t s = 0; s < batch.spans.size(); ++s) {
    if (batch.spans[s].logits != LogitRows::kLast) continue;
    const auto drafted = static_cast<size_t>(batch.spans[s].drafted);
    for (size_t i = 0; i <= drafted; ++i) rows.emplace_back(batch.items[s], i);
  }
  const auto width = static_cast<size_t>(vocab_size());
  std::vector<StepOutput> samples(rows.size());
  pool_->ParallelFor(static_cast<int64_t>(rows.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
      const auto [i, drafted] = rows[row];
      const std::span<const int32_t> text = work[i].text;
      const std::span<const int32_t> history =
          drafted == 0 ? items[i].history : text.first(items[i].history.size() + drafted);
      samples[row] = SampleRow(logits.subspan(row * width, width), items[i], history);
    }
  });
  for (size_t row = 0; row < rows.size();) {
    const size_t i = rows[row].first, count = static_cast<size_t>(work[i].drafted) + 1;
    outputs[i] =
        TakeConfirmed(std::span(samples).subspan(row, count), items[i], StateOf(items[i].state));
    row += count;
  }
  batch = Batch();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> CpuRunner::ScoreChunk(RunnerState& state,
                                                         std::span<const int32_t> tokens) {
  LFM2_RETURN_IF_ERROR(CheckTokens(tokens, vocab_size()));
  std::vector<float> scores;
  try {
    for (size_t begin = 0; begin + 1 < tokens.size(); begin += kScoreRows) {
      const size_t size = std::min<size_t>(kScoreRows + 1, tokens.size() - begin);
      LFM2_RETURN_IF_ERROR(ScoreRows(StateOf(&state), tokens.subspan(begin, size), scores));
    }
  } catch (const std::bad_alloc&) {
    return NoMemory();
  }
  return scores;
}

absl::Status CpuRunner::ScoreRows(CpuState& state, std::span<const int32_t> tokens,
                                  std::vector<float>& scores) {
  const size_t rows = tokens.size() - 1, width = static_cast<size_t>(vocab_size());
  LFM2_RETURN_IF_ERROR(state.Reserve(static_cast<int64_t>(rows)));
  const CpuSpan span{tokens.first(rows), &state, LogitRows::kAll};
  LFM2_ASSIGN_OR_RETURN(const std::span<const float> logits, decoder_.Forward({&span, 1}));
  const size_t before = scores.size();
  scores.resize(before + rows);
  pool_->ParallelFor(static_cast<int64_t>(rows), 1, [&](int64_t begin, int64_t end) {
    for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
      const std::span<const float> values = logits.subspan(row * width, width);
      scores[before + row] =
          AllFinite(values) ? LogProbability(values, tokens[row + 1]) : std::nanf("");
    }
  });
  for (size_t row = 0; row < rows; ++row) {
    if (!AllFinite({&scores[before + row], 1})) {
      return NotFiniteError(state.position() - static_cast<int64_t>(rows - row));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ProbePass>> CpuRunner::StartProbe() {
  try {
    return std::make_unique<CpuProbePass>(decoder_, blocks_);
  } catch (const std::bad_alloc&) {
    return NoMemory();
  }
}

}  // namespace

std::unique_ptr<ModelRunner> MakeCpuRunner(std::shared_ptr<const CpuWeights> weights,
                                           std::shared_ptr<ThreadPool> pool,
                                           const CpuRunnerOptions& options) {
  return std::make_unique<CpuRunner>(std::move(weights), std::move(pool), options);
}

}  // namespace lfm2
