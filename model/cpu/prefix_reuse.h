// What a prompt took from the prefix cache, and why not more. Thread rule: plain data.
#pragma once

#include <cstdint>

namespace lfm2 {

// Why a prompt, or its rest, is not read from the prefix cache.
enum class PrefixMiss {
  kNone,            // everything that could be reused was
  kDisabled,        // the request asked for no cache
  kEmpty,           // nothing of this model and tenant is kept
  kNoCommonPrefix,  // what is kept begins otherwise
  kTooShort,        // the common prefix costs as much to replay as to compute
  kEvicted,         // it was kept once and had to go
  kUnsupported,     // this runner keeps nothing
};
inline constexpr int kPrefixMisses = 7;

struct PrefixReuse {
  int64_t cached_tokens = 0;    // of the prompt: their keys and values stand
  int64_t replayed_tokens = 0;  // of those: run again for the states that are not kept by token
  PrefixMiss miss = PrefixMiss::kUnsupported;

  // The first token that the sequence gives to Step, below the prompt's length.
  int64_t resume_at() const { return cached_tokens - replayed_tokens; }
};

}  // namespace lfm2
