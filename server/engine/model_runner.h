// Runs batches of one model. The seam between the engine and the arithmetic: torch_runner.cc and
// cpu_runner.cc are the real ones, tests have a fake. Thread rule: the engine's thread only.
//
// States and failures. A state that an item with an OK status used has advanced by exactly the
// item's tokens and by those of its drafted ones that `more` confirms. After any other status the
// state is unspecified: the engine destroys it and neither steps nor retires it. What one request
// alone can cause (its ids, the memory that its tokens need, logits that are not finite, its
// sampling) is found item by item, before the pass or after it, and is FaultScope::kItem: the other
// items go on. A failure of the pass itself is kBatch for every item that took part; the engine
// then makes each of those sequences anew from its tokens, which are all known, and runs each once
// by itself: the one that fails again is ended, the others lose time only.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/cpu/prefix_reuse.h"
#include "model/parity/report_builder.h"
#include "model/sampling/sampler.h"

namespace lfm2 {

// What a runner keeps for one sequence between steps. Destroying it frees the sequence's memory.
class RunnerState {
 public:
  virtual ~RunnerState() = default;
};

struct StateRequest {
  std::span<const int32_t> prompt;  // at least one token; valid during the call
  std::string_view tenant;          // whose cache may be looked into; "" is a tenant like any other
  bool use_cache = true;
};

const char* PrefixMissName(PrefixMiss miss);  // "none", "no_common_prefix", …

struct NewState {
  std::unique_ptr<RunnerState> state;
  PrefixReuse reuse;
};

struct StepItem {
  RunnerState* state = nullptr;
  std::span<const int32_t> tokens;  // the next part of the prompt, or the last sampled token
  bool sample = false;              // false for every chunk of a prompt but the last
  const SamplingParams* sampling = nullptr;
  std::span<const int32_t> history;  // prompt and generated tokens, for the repetition penalty
  int64_t index = 0;                 // generated tokens so far
  std::span<const uint32_t> allowed = {};  // as SampleToken's: what a grammar lets come next
  // Guesses of what comes after `tokens`, where `sample` is set and nothing restricts what may come
  // next. Only for a runner that verifies drafts; it may look at fewer.
  std::span<const int32_t> draft = {};
};

enum class FaultScope { kItem, kBatch };

struct StepOutput {
  absl::Status status;  // OK, or why this item has no result
  std::optional<Sample> sample;
  FaultScope scope = FaultScope::kItem;  // of a status that is not OK
  // The samples after the first: one for each drafted token that is what would have been sampled in
  // its place, up to the first that is not. They are bit for bit those of single steps.
  std::vector<Sample> more = {};
};

// Memory of a runner in fixed-size blocks of keys and values.
struct BlockUsage {
  int64_t in_use = 0;  // of sequences, those that they share with the prefix cache too
  int64_t cached = 0;  // that only the prefix cache holds
  int64_t limit = 0;   // 0: none
};

// A pass with probes from an empty state, chunk by chunk. Destroyed before its runner.
class ProbePass {
 public:
  virtual ~ProbePass() = default;
  // Adds what the chunk gives to `report`; after an error both are spent.
  virtual absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report) = 0;
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  // A state that stands before prompt[reuse.resume_at()]. kOutOfMemory and the like.
  virtual absl::StatusOr<NewState> Start(const StateRequest& request) = 0;
  // Takes back a state that saw exactly `tokens`, or after them drafted tokens of its last step
  // that its sequence ended before: a later Start of the same tenant may go on from what it was
  // after `tokens`. Not called for requests without the cache.
  virtual void Retire(std::unique_ptr<RunnerState> state, std::span<const int32_t> tokens,
                      std::string_view tenant);
  // Whether Step looks at drafts; one that does not is never given any. Any thread.
  virtual bool verifies_drafts() const { return false; }
  // One output an item, in order.
  virtual std::vector<StepOutput> Step(std::span<const StepItem> items) = 0;
  // Advances the state by all of `tokens` but the last: log p(tokens[i + 1] | what the state saw,
  // tokens[0..i]), one fewer than tokens. A text is scored in chunks that overlap by one token.
  virtual absl::StatusOr<std::vector<float>> ScoreChunk(RunnerState& state,
                                                        std::span<const int32_t> tokens) = 0;
  virtual absl::StatusOr<std::unique_ptr<ProbePass>> StartProbe() = 0;

  // Moves now and then during a call that is long. Any thread.
  virtual int64_t progress() const { return 0; }
  // For an operator's eyes. Any thread.
  virtual BlockUsage blocks() const { return {}; }
  // What the state of a sequence that comes to `tokens` tokens may hold at most, and what all
  // states together may, in a unit of the runner's own. As long as the states that are held were
  // promised no more than that, no step fails for want of memory for them. Any thread.
  virtual int64_t StateMemory(int64_t /*tokens*/) const { return 0; }
  virtual int64_t state_memory_limit() const { return std::numeric_limits<int64_t>::max(); }

  // All of a text at once, from an empty state: one fewer than tokens.
  absl::StatusOr<std::vector<float>> Score(std::span<const int32_t> tokens);
  // The whole pass at once.
  absl::StatusOr<ParityReport> Probe(std::span<const int32_t> tokens, const ReportKeep& keep);
};

}  // namespace lfm2
