// The grammar of one sequence while tokens are made: what may come next, worked out off the
// engine's thread, so that a grammar that is slow holds up its own sequence only.
//
// Thread rule: the engine's thread. Ownership: shares the grammar with the work that is under way.
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
  // Begins to work out the first mask. `step_limit`: for one token's work, and for its turn to
  // begin; then the sequence fails.
  Constraint(std::shared_ptr<const Grammar> grammar, std::chrono::milliseconds step_limit,
             GrammarPool& pool = GrammarPool::Masks());

  // The token that was sampled; begins to work out what follows.
  void Push(int32_t id) { Begin(id); }
  // True when nothing is under way any more: then Check, finished and allowed say how it stands.
  bool WaitUntil(std::chrono::steady_clock::time_point until);

  // Why the sequence must end: kGrammarTooSlow, kGrammarDeadEnd, kInternal; kQueueFull with a retry
  // delay where others' work left it no thread.
  absl::Status Check() const;
  // The text is complete and nothing may follow.
  bool finished() const;
  // As SampleToken's; after WaitUntil was true, until the next Push.
  std::span<const uint32_t> allowed() const;

 private:
  struct Shared;
  void Begin(std::optional<int32_t> id);

  const std::shared_ptr<Shared> shared_;
  const std::chrono::milliseconds step_limit_;
  GrammarPool& pool_;
};

}  // namespace lfm2
