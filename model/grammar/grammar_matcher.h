// Matches one text against its grammar: says which tokens may come next and accepts them one by
// one.
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

  // The tokens that may come next, including an end token when the text may end. Valid until the
  // next call. kGrammarDeadEnd when the grammar allows no token of the vocabulary, which can happen
  // when the vocabulary lacks some bytes.
  absl::StatusOr<const TokenMask*> NextMask();
  // kInternal when the grammar does not allow `id` here.
  absl::Status Accept(int32_t id);
  // Undoes the last `tokens` accepted tokens, at most all of them.
  absl::Status Rollback(int64_t tokens);

  // True when nothing can follow: an end token was accepted, or the text is complete and the
  // vocabulary has no end token.
  bool finished() const;
  bool complete() const;  // the text so far matches the whole grammar
  int64_t accepted() const { return static_cast<int64_t>(guard_states_.size()) - 1; }

 private:
  struct State;
  GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::unique_ptr<State> state);

  std::shared_ptr<const Grammar> grammar_;
  std::unique_ptr<State> state_;  // after grammar_, so it is destroyed first
  TokenMask mask_;
  std::vector<uint8_t> guard_states_;  // TokenGuard's states: at the start and after each token
};

}  // namespace lfm2
