#include "server/rpc/calls/convert_score.h"

#include "base/status_macros.h"
#include "server/rpc/calls/convert.h"

namespace lfm2 {

absl::StatusOr<Prompt> CheckScore(const v1::ScoreRequest& request, const Limits& limits) {
  RequestCheck check;
  CheckModelRef(request.model(), limits, check);
  Prompt prompt;
  switch (request.input_case()) {
    case v1::ScoreRequest::kText:
      prompt = TextPrompt("text", request.text(), OptionsOf(request), limits, check);
      break;
    case v1::ScoreRequest::kTokens:
      prompt = IdsPrompt(request.tokens(), check);
      break;
    case v1::ScoreRequest::INPUT_NOT_SET:
      check.Add("input", "is not set", Reason::kPromptEmpty);
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return prompt;
}

absl::StatusOr<std::vector<int32_t>> BindScore(const Prompt& prompt, const LoadedModel& model,
                                               int64_t default_context) {
  RequestCheck check;
  LFM2_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeFor(prompt, model, check));
  const auto tokens = static_cast<int64_t>(ids.size());
  CheckPromptTokens(prompt, tokens, ContextOf(model, default_context), check);
  if (tokens == 1) check.Add(FieldOf(prompt), "has 1 token, a score needs at least 2");
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return ids;
}

}  // namespace lfm2
