// Score: a request to checked plain data in two steps (what needs no model, then what does). Thread
// rule: pure functions; the second step tokenizes, so it runs on the executor.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "lfm2/v1/generation.pb.h"
#include "server/engine/loaded_model.h"
#include "server/rpc/calls/convert_prompt.h"

namespace lfm2 {

absl::StatusOr<Prompt> CheckScore(const v1::ScoreRequest& request, const Limits& limits);
// At least 2 tokens, within the context.
absl::StatusOr<std::vector<int32_t>> BindScore(const Prompt& prompt, const LoadedModel& model,
                                               int64_t default_context);

}  // namespace lfm2
