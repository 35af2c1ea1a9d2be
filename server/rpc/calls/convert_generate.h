// Generate: a request to checked plain data in two steps (what needs no model, then what does), and
// events to messages. Thread rule: pure functions; the second step tokenizes, so it runs on the
// executor.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lfm2/v1/generation.pb.h"
#include "model/grammar/grammar.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/request.h"
#include "server/rpc/calls/convert_prompt.h"

namespace lfm2 {

// A GenerateRequest of the wire whose every rule that needs no model holds.
struct GenerateAsk {
  v1::ModelRef model;
  Prompt prompt;
  SamplingParams sampling;  // with a random seed when the request has none
  std::optional<int64_t> max_new_tokens;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_ids;
  bool ignore_eos = false;
  Priority priority = Priority::kNormal;
  bool use_prefix_cache = true;
  std::optional<GrammarSource> structure;
  bool takes_tool_calls = false;
};

// Reports all violations at once. kPromptEmpty, kPromptTooLong {bytes, limit}, kInvalidArgument.
absl::StatusOr<GenerateAsk> CheckGenerate(const v1::GenerateRequest& request, const Limits& limits);

// Tokenizes and checks against the model. kPromptEmpty, kPromptTooLong {tokens, limit},
// kContextExceeded, kTokenizerMismatch, kUnknownTemplate, kInvalidArgument for ids outside the
// vocabulary. The caller fills in request_id, tenant, deadline and the grammar.
absl::StatusOr<GenerateRequest> BindGenerate(GenerateAsk ask, std::shared_ptr<LoadedModel> model,
                                             int64_t default_context);

v1::GenerateResponse StartMessage(const GenerateRequest& request);
v1::GenerateResponse TokenMessage(const TokenEvent& event, const Tokenizer& tokenizer);
v1::GenerateResponse EndMessage(const GenerateEnd& end);

}  // namespace lfm2
