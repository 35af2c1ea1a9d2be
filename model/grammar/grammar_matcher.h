// Where one text stands in its grammar: which tokens may come next, and going on by one.
//
// Thread rule: one thread at a time. Ownership: shares the grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "model/grammar/grammar.h"

namespace lfm2 {

class GrammarMatcher {
 public:
  static absl::StatusOr<std::unique_ptr<GrammarMatcher>> Make(
      std::shared_ptr<const Grammar> grammar);
  ~GrammarMatcher();

  // The tokens that may come next; an end token is among them where the text may end. Valid until
  // the next call. kGrammarDeadEnd when no token of the vocabulary goes on, which a vocabulary that
  // lacks some bytes can come to.
  absl::StatusOr<const TokenMask*> NextMask();
  // kInternal when the grammar does not allow `id` here.
  absl::Status Accept(int32_t id);
  // Takes back the last `tokens` that were accepted, at most all of them.
  absl::Status Rollback(int64_t tokens);

  // An end token was accepted, or the text is complete and the vocabulary has no end token: nothing
  // can follow.
  bool finished() const;
  bool complete() const;  // the text so far is a text of the grammar
  int64_t accepted() const { return static_cast<int64_t>(guard_states_.size()) - 1; }

 private:
  struct State;
  GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::unique_ptr<State> state);

  std::shared_ptr<const Grammar> grammar_;
  std::unique_ptr<State> state_;  // after grammar_: goes before it
  TokenMask mask_;
  std::vector<uint8_t> guard_states_;  // TokenGuard's, before the first token and after each
};

}  // namespace lfm2
