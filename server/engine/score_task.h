// Scores a text in turns of one chunk, so that a long one does not delay decoding sequences. Thread
// rule: the engine's thread, which must also destroy it. Ownership: owns its state.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/model_runner.h"

namespace lfm2 {

class ScoreTask {
 public:
  // At least 2 tokens; a chunk of at least 1.
  ScoreTask(std::vector<int32_t> tokens, int64_t chunk_tokens)
      : tokens_(std::move(tokens)), chunk_tokens_(chunk_tokens) {}

  // Runs one chunk. True if there are more; must not be called again after an error.
  absl::StatusOr<bool> Advance(ModelRunner& runner);

  const std::vector<int32_t>& tokens() const { return tokens_; }
  const std::vector<float>& logprobs() const { return logprobs_; }  // so far

 private:
  const std::vector<int32_t> tokens_;
  const int64_t chunk_tokens_;
  std::unique_ptr<RunnerState> state_;
  std::vector<float> logprobs_;  // in the end, one fewer than tokens
};

}  // namespace lfm2
