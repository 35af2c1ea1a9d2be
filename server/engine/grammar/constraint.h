// The grammar of one sequence during generation. It computes the allowed next tokens on another
// thread than the engine's, so that a slow grammar delays only its own sequence.
//
// Thread rule: the engine's thread. Ownership: shares the grammar with running work.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "model/grammar/grammar.h"
#include "server/engine/grammar/grammar_pool.h"

namespace lfm2 {

class Constraint {
 public:
  // Starts to compute the first mask. `step_limit` applies to the work for one token, and to its
  // wait for a thread; after it the sequence fails.
  Constraint(std::shared_ptr<const Grammar> grammar, std::chrono::milliseconds step_limit,
             GrammarPool& pool = GrammarPool::Masks());

  // Takes the sampled token and starts to compute the next mask.
  void Push(int32_t id) { Begin(id); }
  // True if no work is running any more; then Check, finished and allowed give the result.
  bool WaitUntil(std::chrono::steady_clock::time_point until);

  // Why the sequence must end: kGrammarTooSlow, kGrammarDeadEnd, kInternal; kQueueFull with a retry
  // delay if other work left it no thread.
  absl::Status Check() const;
  // The text is complete and nothing may follow.
  bool finished() const;
  // As for SampleToken. Valid from a WaitUntil that returned true until the next Push.
  std::span<const uint32_t> allowed() const;

 private:
  struct Shared;
  void Begin(std::optional<int32_t> id);

  const std::shared_ptr<Shared> shared_;
  const std::chrono::milliseconds step_limit_;
  GrammarPool& pool_;
};

}  // namespace lfm2
