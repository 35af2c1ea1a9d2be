// Drafts for speculative decoding from the text itself: the tokens that followed an earlier
// occurrence of the last tokens (Saxena 2023, "Prompt Lookup Decoding"). Uses the longest n-gram
// that was seen before, and its latest occurrence; a draft that reaches the end of the text repeats
// itself from there.
//
// Thread rule: one thread. Ownership: keeps a copy of the tokens. Append is amortised O(1) per
// token, Draft is O(most).
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace lfm2 {

class PromptLookup {
 public:
  struct Options {
    int shortest = 2;  // length of the shortest n-gram, at least 1
    int longest = 4;
  };
  PromptLookup() : PromptLookup(Options()) {}
  explicit PromptLookup(const Options& options) : options_(options) {}

  void Append(int32_t token);
  void Append(std::span<const int32_t> tokens) {
    for (const int32_t token : tokens) Append(token);
  }
  // At most `most` tokens that may come next; empty when the last tokens did not occur before.
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
