// Guesses how a greedy sequence goes on, out of its own text (PromptLookup), and how much of it is
// worth checking.
//
// A drafted token costs a share of a step, one that was right saves a whole one. What the right
// ones have saved pays for the next: the account starts with a little, is bounded, and where it is
// empty there is only one token now and then, so text that does not repeat loses a bounded share.
// Thread rule: one thread. Ownership: keeps its own index of the text, about 170 bytes a token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/sampling/prompt_lookup.h"

namespace lfm2 {

class Drafter {
 public:
  explicit Drafter(int64_t most) : most_(most) {}  // tokens of one draft, at least 1

  // Reads on in the sequence's text, `tokens` being all of it so far: a bounded part a call.
  void Read(std::span<const int32_t> tokens);
  // What may follow the text that was read last, at most `most` tokens; empty where it has not been
  // read to its end, where nothing is known, and where it is not worth it.
  std::vector<int32_t> Draft(int64_t most);
  // Of `drafted` checked tokens the first `right` ones were so.
  void Note(int64_t drafted, int64_t right);

 private:
  const int64_t most_;
  PromptLookup lookup_;
  bool read_all_ = false;
  int64_t length_ = 2;    // of the next draft
  int64_t account_ = 16;  // in prices of a drafted token
  int64_t passed_ = 0;    // drafts that were not made since the last one
};

}  // namespace lfm2
