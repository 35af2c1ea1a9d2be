// Prompts: what the requests of Generate, Score and Tokenize have in common, and Tokenize itself.
// Checks need no model; encoding does, and tokenizes, so it runs on the executor. Thread rule: pure
// functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "lfm2/v1/generation.pb.h"
#include "model/tokenizer/chat/chat_template.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/loaded_model.h"
#include "server/rpc/transport/request_check.h"

namespace lfm2 {

struct PromptText {
  std::string text;
  EncodeOptions options;
};
using Prompt = std::variant<std::monostate, PromptText, std::vector<int32_t>, Conversation>;

// add_special and parse_special of a request that has them.
template <typename Request>
EncodeOptions OptionsOf(const Request& request) {
  EncodeOptions options;
  if (request.has_add_special()) options.add_special = request.add_special();
  if (request.has_parse_special()) options.parse_special = request.parse_special();
  return options;
}

// Violations: kPromptEmpty, kPromptTooLong {bytes, limit}, kInvalidArgument.
Prompt TextPrompt(std::string_view field, std::string text, const EncodeOptions& options,
                  const Limits& limits, RequestCheck& check);
Prompt ChatPrompt(const v1::ChatMessages& chat, const Limits& limits, RequestCheck& check);
Prompt IdsPrompt(const v1::TokenIds& tokens, RequestCheck& check);

absl::StatusOr<Prompt> CheckTokenize(const v1::TokenizeRequest& request, const Limits& limits);

// The prompt's field as the request names it: "text", "tokens.ids", "chat.messages".
const char* FieldOf(const Prompt& prompt);
absl::StatusOr<std::vector<int32_t>> Encode(const Prompt& prompt, const Tokenizer& tokenizer);
// The same, with ids of the request's own checked against the vocabulary. kTokenizerMismatch when
// the tokenizer gives one that the model does not have.
absl::StatusOr<std::vector<int32_t>> EncodeFor(const Prompt& prompt, const LoadedModel& model,
                                               RequestCheck& check);
// Violations: kPromptEmpty, kPromptTooLong {tokens, limit}.
void CheckPromptTokens(const Prompt& prompt, int64_t tokens, int64_t limit, RequestCheck& check);
// Names the first ids outside the vocabulary; a prompt of wrong ids would otherwise name each.
void CheckIds(std::string_view field, const std::vector<int32_t>& ids, int64_t vocab_size,
              RequestCheck& check);
// Tokens that a sequence of the model may have.
int64_t ContextOf(const LoadedModel& model, int64_t default_context);

}  // namespace lfm2
