// Runs batches of one model. The seam between the engine and LibTorch: torch_runner.cc is the real
// one, tests have a fake. Thread rule: the engine's thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
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

struct StepItem {
  RunnerState* state = nullptr;
  std::span<const int32_t> tokens;  // the next part of the prompt, or the last sampled token
  bool sample = false;              // false for every chunk of a prompt but the last
  const SamplingParams* sampling = nullptr;
  std::span<const int32_t> history;  // prompt and generated tokens, for the repetition penalty
  int64_t index = 0;                 // generated tokens so far
};

struct StepOutput {
  absl::Status status;  // this item's own failure; the others go on
  std::optional<Sample> sample;
};

class ModelRunner {
 public:
  virtual ~ModelRunner() = default;
  virtual absl::StatusOr<std::unique_ptr<RunnerState>> NewState() = 0;
  // One output an item, in order. Never throws.
  virtual std::vector<StepOutput> Step(std::span<const StepItem> items) = 0;
  // log p(tokens[i + 1] | tokens[0..i]), one fewer than tokens.
  virtual absl::StatusOr<std::vector<float>> Score(std::span<const int32_t> tokens) = 0;
  // Probes and all logits of one pass from an empty state.
  virtual absl::StatusOr<ParityReport> Probe(std::span<const int32_t> tokens, bool keep_values) = 0;
};

}  // namespace lfm2
