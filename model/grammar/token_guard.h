// Which tokens may come next whatever a grammar says: those that go on as valid UTF-8, and at the
// beginning those whose text is the same there as elsewhere. The grammar library's negated
// character classes take any byte sequence that has UTF-8's lengths; sentencepiece drops a leading
// space of the first token, which would be matched as one text and shown as another.
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
  // Where a text stands: at its beginning, between two characters, or inside of one.
  using State = uint8_t;
  static constexpr State kBeginning = 8;

  TokenGuard(const Tokenizer& tokenizer, int64_t vocab_size);

  void Restrict(State state, TokenMask& mask) const;
  // After a token that Restrict left in the mask.
  State Next(State state, int32_t id) const;

 private:
  static constexpr size_t kStates = 9;
  std::array<TokenMask, kStates> masks_;
  std::array<std::vector<State>, kStates> next_;  // of each token
};

}  // namespace lfm2
