// Runs batches of one model. The seam between the engine and LibTorch: torch_runner.cc is the real
// one, tests have a fake. Thread rule: the engine's thread only.
//
// States and failures. A state that an item with an OK status used has advanced by exactly the
// item's tokens. After any other status the state is unspecified: the engine destroys it and
// neither steps nor retires it. What one request alone can cause (its ids, logits that are not
// finite) is found item by item, before the pass or after it: the other items go on. A failure of
// the pass itself is every item's that took part.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/core/probe.h"
#include "model/sampler.h"

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

// Why a prompt, or its rest, is not read from the prefix cache.
enum class PrefixMiss {
  kNone,            // everything that could be reused was
  kDisabled,        // the request asked for no cache
  kEmpty,           // nothing of this model and tenant is kept
  kNoCommonPrefix,  // what is kept begins otherwise
  kTooShort,        // the common prefix costs as much to replay as to compute
  kEvicted,         // it was kept once and had to go
  kUnsupported,     // this runner keeps nothing
};

struct PrefixReuse {
  int64_t cached_tokens = 0;    // of the prompt: their keys and values stand
  int64_t replayed_tokens = 0;  // of those: run again for the states that are not kept by token
  PrefixMiss miss = PrefixMiss::kUnsupported;

  // The first token that the sequence gives to Step, below the prompt's length.
  int64_t resume_at() const { return cached_tokens - replayed_tokens; }
};

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
};

struct StepOutput {
  absl::Status status;  // OK, or why this item has no result
  std::optional<Sample> sample;
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  // A state that stands before prompt[reuse.resume_at()]. kOutOfMemory and the like.
  virtual absl::StatusOr<NewState> Start(const StateRequest& request) = 0;
  // Takes back a state that saw exactly `tokens`: a later Start of the same tenant may go on from
  // it. Not called for requests without the cache.
  virtual void Retire(std::unique_ptr<RunnerState> state, std::span<const int32_t> tokens,
                      std::string_view tenant);
  // One output an item, in order.
  virtual std::vector<StepOutput> Step(std::span<const StepItem> items) = 0;
  // Advances the state by all of `tokens` but the last: log p(tokens[i + 1] | what the state saw,
  // tokens[0..i]), one fewer than tokens. A text is scored in chunks that overlap by one token.
  virtual absl::StatusOr<std::vector<float>> ScoreChunk(RunnerState& state,
                                                        std::span<const int32_t> tokens) = 0;
  // Probes and all logits of one pass from an empty state.
  virtual absl::StatusOr<ParityReport> Probe(std::span<const int32_t> tokens, bool keep_values) = 0;

  // All of a text at once, from an empty state: one fewer than tokens.
  absl::StatusOr<std::vector<float>> Score(std::span<const int32_t> tokens);
};

}  // namespace lfm2
