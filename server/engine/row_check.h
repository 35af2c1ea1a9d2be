// Checks that every runner makes on its input ids and its logits. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "server/engine/model_runner.h"

namespace lfm2 {

// kInvalidArgument for an id outside [0, vocab_size).
absl::Status CheckTokens(std::span<const int32_t> tokens, int64_t vocab_size);

bool AllFinite(std::span<const float> values);
// kInternal; `position` is the position of the last token that the logits depend on.
absl::Status NotFiniteError(int64_t position);

// Samples the token after `history`, which is the item's history, perhaps followed by drafted
// tokens. On an error, the output's status is that of logits that are not finite, or kOutOfMemory.
StepOutput SampleRow(std::span<const float> logits, const StepItem& item,
                     std::span<const int32_t> history);

}  // namespace lfm2
