// Drafts for speculative decoding out of the text itself: what followed the last tokens when they
// stood there before (Saxena 2023, "Prompt Lookup Decoding"). The longest n-gram that was seen
// decides, its latest place first; a draft that reaches the end of the text goes on periodically.
//
// Thread rule: one thread. Ownership: keeps a copy of the tokens. Append is O(1) amortised a token,
// Draft O(most).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace lfm2 {

class PromptLookup {
 public:
  struct Options {
    int shortest = 2;  // n-grams of so many tokens, at least 1
    int longest = 4;
  };
  PromptLookup() : PromptLookup(Options()) {}
  explicit PromptLookup(const Options& options) : options_(options) {}

  void Append(int32_t token);
  void Append(std::span<const int32_t> tokens) {
    for (const int32_t token : tokens) Append(token);
  }
  // At most `most` tokens that may come next; empty when the last tokens are new.
  std::vector<int32_t> Draft(int64_t most) const;
  int64_t size() const { return static_cast<int64_t>(tokens_.size()); }

 private:
  struct Place {
    int64_t next = 0;  // index of the token after the n-gram
  };
  uint64_t HashOfLast(int n) const;
  bool EndsAlike(int64_t next, int n) const;

  Options options_;
  std::vector<int32_t> tokens_;
  std::unordered_map<uint64_t, Place> places_;
};

}  // namespace lfm2
