#include "server/engine/row_check.h"

#include <algorithm>
#include <bit>
#include <new>
#include <optional>
#include <string>

#include "base/errors.h"
#include "model/sampling/sampler.h"

namespace lfm2 {

absl::Status CheckTokens(std::span<const int32_t> tokens, int64_t vocab_size) {
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocab_size) {
      return Error(Reason::kInvalidArgument, "token id " + std::to_string(token) +
                                                 " is not below the vocabulary size " +
                                                 std::to_string(vocab_size));
    }
  }
  return absl::OkStatus();
}

// Without the sign bit, float bit patterns are ordered by magnitude, and infinity and NaN are the
// largest.
bool AllFinite(std::span<const float> values) {
  uint32_t largest = 0;
  for (const float value : values) {
    largest = std::max(largest, std::bit_cast<uint32_t>(value) & 0x7fffffffU);
  }
  return largest < 0x7f800000U;
}

absl::Status NotFiniteError(int64_t position) {
  return Error(Reason::kInternal,
               "the model's logits at position " + std::to_string(position) + " are not finite",
               {{"position", std::to_string(position)}});
}

StepOutput SampleRow(std::span<const float> logits, const StepItem& item,
                     std::span<const int32_t> history) {
  const auto drafted = static_cast<int64_t>(history.size() - item.history.size());
  if (!AllFinite(logits)) {
    return {NotFiniteError(static_cast<int64_t>(history.size()) - 1), std::nullopt};
  }
  try {
    return {absl::OkStatus(),
            SampleToken(logits, *item.sampling, history, item.index + drafted, item.allowed)};
  } catch (const std::bad_alloc&) {
    return {Error(Reason::kOutOfMemory, "there is no memory for this request"), std::nullopt};
  }
}

}  // namespace lfm2
