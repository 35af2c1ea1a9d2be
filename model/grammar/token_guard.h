// Restricts the tokens that may come next, independently of the grammar: they must continue valid
// UTF-8, and at the start of a text they must have the same text there as elsewhere. Reasons: the
// grammar library's negated character classes accept any byte sequence with UTF-8's lengths, and
// sentencepiece drops a leading space of the first token, so the matched and the shown text would
// differ.
//
// Thread rule: const after Make. Ownership: shared by all grammars of a vocabulary. Source of the
// states: The Unicode Standard, table 3-7 (well-formed UTF-8 byte sequences).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "model/grammar/grammar.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

class TokenGuard {
 public:
  // The position in a text: at its start, between two characters, or inside one.
  using State = uint8_t;
  static constexpr State kBeginning = 8;

  TokenGuard(const Tokenizer& tokenizer, int64_t vocab_size);

  void Restrict(State state, TokenMask& mask) const;
  // The state after a token that Restrict left in the mask.
  State Next(State state, int32_t id) const;

 private:
  static constexpr size_t kStates = 9;
  std::array<TokenMask, kStates> masks_;
  std::array<std::vector<State>, kStates> next_;  // for each token
};

}  // namespace lfm2
