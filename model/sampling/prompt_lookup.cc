#include "model/sampling/prompt_lookup.h"

#include <algorithm>

namespace lfm2 {

// A hash of the last n tokens and n itself.
uint64_t PromptLookup::HashOfLast(int n) const {
  uint64_t hash = 1469598103934665603u ^ static_cast<uint64_t>(n);
  for (size_t i = tokens_.size() - static_cast<size_t>(n); i < tokens_.size(); ++i) {
    hash = (hash ^ static_cast<uint32_t>(tokens_[i])) * 1099511628211u;
    hash ^= hash >> 29;
  }
  return hash;
}

// Whether the n tokens before `next` equal the last n; two n-grams may have the same hash.
bool PromptLookup::EndsAlike(int64_t next, int n) const {
  const auto before = tokens_.begin() + next;
  return std::equal(tokens_.end() - n, tokens_.end(), before - n);
}

void PromptLookup::Append(int32_t token) {
  const auto next = static_cast<int64_t>(tokens_.size());
  for (int n = options_.shortest; n <= options_.longest && n <= next; ++n) {
    places_[HashOfLast(n)].next = next;
  }
  tokens_.push_back(token);
}

std::vector<int32_t> PromptLookup::Draft(int64_t most) const {
  std::vector<int32_t> draft;
  const auto size = static_cast<int64_t>(tokens_.size());
  for (int n = options_.longest; n >= options_.shortest; --n) {
    if (n > size) continue;
    const auto found = places_.find(HashOfLast(n));
    if (found == places_.end() || !EndsAlike(found->second.next, n)) continue;
    const int64_t next = found->second.next;
    for (int64_t i = 0; i < most; ++i) {
      const int64_t at = next + i;
      draft.push_back(at < size ? tokens_[static_cast<size_t>(at)]
                                : draft[static_cast<size_t>(at - size)]);
    }
    break;
  }
  return draft;
}

}  // namespace lfm2
