// What every runner checks of the ids that it is given and of the logits that it made.
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "server/engine/model_runner.h"

namespace lfm2 {

// kInvalidArgument for an id outside [0, vocab_size).
absl::Status CheckTokens(std::span<const int32_t> tokens, int64_t vocab_size);

bool AllFinite(std::span<const float> values);
// kInternal; `position` is that of the last token which the logits depend on.
absl::Status NotFiniteError(int64_t position);

// Samples what comes after `history`, which is the item's, perhaps with drafted tokens after it.
// The output says why it could not: logits that are not finite, or kOutOfMemory.
StepOutput SampleRow(std::span<const float> logits, const StepItem& item,
                     std::span<const int32_t> history);

}  // namespace lfm2
