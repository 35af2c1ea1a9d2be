// Guesses the next tokens of a greedy sequence from its own text (PromptLookup), and decides how
// many are worth checking.
//
// A drafted token costs a part of a step; a correct one saves a whole step. An account collects
// what correct tokens have saved and pays for the next drafts. It starts with a small amount and is
// bounded. While it is empty, only one token is drafted now and then, so the cost for text that
// does not repeat is bounded. Thread rule: one thread. Ownership: keeps its own index of the text,
// about 170 bytes per token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/sampling/prompt_lookup.h"

namespace lfm2 {

class Drafter {
 public:
  explicit Drafter(int64_t most) : most_(most) {}  // tokens of one draft, at least 1

  // Continues to read the sequence's text; `tokens` is all of it so far. Reads a bounded part per
  // call.
  void Read(std::span<const int32_t> tokens);
  // Returns at most `most` tokens that may follow the text. Empty if the text has not been read to
  // its end, if no earlier occurrence is known, or if drafting is not worth its cost.
  std::vector<int32_t> Draft(int64_t most);
  // Of `drafted` checked tokens, the first `right` ones were correct.
  void Note(int64_t drafted, int64_t right);

 private:
  const int64_t most_;
  PromptLookup lookup_;
  bool read_all_ = false;
  int64_t length_ = 2;    // of the next draft
  int64_t account_ = 16;  // in units of a drafted token's cost
  int64_t passed_ = 0;    // drafts skipped since the last one
};

}  // namespace lfm2
