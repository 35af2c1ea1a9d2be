// How much of a prompt came from the prefix cache, and why not more. Thread rule: plain data.
#pragma once

#include <cstdint>

namespace lfm2 {

// Why a prompt, or the rest of it, did not come from the prefix cache.
enum class PrefixMiss {
  kNone,            // everything reusable was reused
  kDisabled,        // the request asked for no cache
  kEmpty,           // the cache holds nothing for this model and tenant
  kNoCommonPrefix,  // all cached sequences begin differently
  kTooShort,        // the common prefix costs as much to replay as to compute
  kEvicted,         // it was cached before and has been evicted
  kUnsupported,     // this runner has no prefix cache
};
inline constexpr int kPrefixMisses = 7;

struct PrefixReuse {
  int64_t cached_tokens = 0;    // prompt tokens whose keys and values are reused
  int64_t replayed_tokens = 0;  // of those: run again to rebuild states that are not kept per token
  PrefixMiss miss = PrefixMiss::kUnsupported;

  // Index of the first token that the sequence passes to Step; less than the prompt's length.
  int64_t resume_at() const { return cached_tokens - replayed_tokens; }
};

}  // namespace lfm2
