// Runs batches of one model. This is the interface between the engine and the arithmetic,
// implemented in torch_runner.cc and cpu_runner.cc; tests have a fake. Thread rule: the engine's
// thread only.
//
// States and failures. After an OK status, the item's state has advanced by exactly the item's
// tokens and by those drafted tokens that `more` confirms. After any other status the state is
// unspecified: the engine destroys it and neither steps nor retires it. Errors that one request can
// cause (its ids, the memory that its tokens need, logits that are not finite, its sampling) are
// checked for each item before or after the pass and have FaultScope::kItem: the other items
// continue. A failure of the pass itself is kBatch for every item in it. The engine then restarts
// each of these sequences from its tokens, which are all known, and runs each once in a batch of
// its own: a sequence that fails again is ended, the others only lose time.
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

// A runner's data for one sequence between steps. Destroying it frees the sequence's memory.
class RunnerState {
 public:
  virtual ~RunnerState() = default;
};

struct StateRequest {
  std::span<const int32_t> prompt;  // at least one token; valid during the call
  std::string_view tenant;          // whose cache may be used; "" is a tenant like any other
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
  std::span<const uint32_t> allowed = {};  // as for SampleToken: what a grammar allows next
  // Drafted tokens after `tokens`, only if `sample` is set and no grammar restricts the next token.
  // Only for a runner that verifies drafts, which may use fewer of them.
  std::span<const int32_t> draft = {};
};

enum class FaultScope { kItem, kBatch };

struct StepOutput {
  absl::Status status;  // OK, or why this item has no result
  std::optional<Sample> sample;
  FaultScope scope = FaultScope::kItem;  // of an error in `status`
  // The samples after the first: one for each drafted token that equals the sampled token, up to
  // the first that differs. They are bit-identical to those of single steps.
  std::vector<Sample> more = {};
};

// A runner's memory in fixed-size blocks of keys and values.
struct BlockUsage {
  int64_t in_use = 0;  // used by sequences, also if shared with the prefix cache
  int64_t cached = 0;  // held only by the prefix cache
  int64_t limit = 0;   // 0: no limit
};

// A pass with probes from an empty state, chunk by chunk. Destroyed before its runner.
class ProbePass {
 public:
  virtual ~ProbePass() = default;
  // Adds the chunk's probes to `report`. After an error neither this pass nor `report` may be used.
  virtual absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report) = 0;
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  // Returns a state whose next token is prompt[reuse.resume_at()]. kOutOfMemory and similar errors.
  virtual absl::StatusOr<NewState> Start(const StateRequest& request) = 0;
  // Takes back a state that has seen exactly `tokens`, perhaps followed by drafted tokens of its
  // last step that are not part of the ended sequence. A later Start of the same tenant may
  // continue from the state after `tokens`. Not called for requests without the cache.
  virtual void Retire(std::unique_ptr<RunnerState> state, std::span<const int32_t> tokens,
                      std::string_view tenant);
  // Whether Step uses drafts; if not, it never gets any. Any thread.
  virtual bool verifies_drafts() const { return false; }
  // Returns one output per item, in order.
  virtual std::vector<StepOutput> Step(std::span<const StepItem> items) = 0;
  // Advances the state by all of `tokens` except the last. Returns log p(tokens[i + 1] | tokens
  // seen by the state, tokens[0..i]), one fewer than tokens. A text is scored in chunks that
  // overlap by one token.
  virtual absl::StatusOr<std::vector<float>> ScoreChunk(RunnerState& state,
                                                        std::span<const int32_t> tokens) = 0;
  virtual absl::StatusOr<std::unique_ptr<ProbePass>> StartProbe() = 0;

  // Changes from time to time during a long call. Any thread.
  virtual int64_t progress() const { return 0; }
  // For metrics. Any thread.
  virtual BlockUsage blocks() const { return {}; }
  // The maximum memory for the state of a sequence of up to `tokens` tokens, and the limit for all
  // states together, in a unit that the runner chooses. As long as the memory promised to all
  // states stays within the limit, no step runs out of memory for them. Any thread.
  virtual int64_t StateMemory(int64_t /*tokens*/) const { return 0; }
  virtual int64_t state_memory_limit() const { return std::numeric_limits<int64_t>::max(); }

  // Scores a whole text from an empty state; returns one value fewer than tokens.
  absl::StatusOr<std::vector<float>> Score(std::span<const int32_t> tokens);
  // Runs the whole pass.
  absl::StatusOr<ParityReport> Probe(std::span<const int32_t> tokens, const ReportKeep& keep);
};

}  // namespace lfm2
