#include "server/rpc/calls/convert_prompt.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "server/rpc/calls/convert.h"

namespace lfm2 {
namespace {

void CheckPromptBytes(std::string_view field, int64_t bytes, const Limits& limits,
                      RequestCheck& check) {
  if (bytes <= limits.prompt_bytes) return;
  check.Add(field, absl::StrCat("has ", bytes, " bytes, limit ", limits.prompt_bytes),
            Reason::kPromptTooLong,
            {{"bytes", std::to_string(bytes)}, {"limit", std::to_string(limits.prompt_bytes)}});
}

}  // namespace

const char* FieldOf(const Prompt& prompt) {
  if (std::holds_alternative<std::vector<int32_t>>(prompt)) return "tokens.ids";
  if (std::holds_alternative<Conversation>(prompt)) return "chat.messages";
  return "text";
}

Prompt TextPrompt(std::string_view field, std::string text, const EncodeOptions& options,
                  const Limits& limits, RequestCheck& check) {
  CheckPromptBytes(field, static_cast<int64_t>(text.size()), limits, check);
  return PromptText{std::move(text), options};
}

Prompt ChatPrompt(const v1::ChatMessages& chat, const Limits& limits, RequestCheck& check) {
  if (chat.messages().empty()) {
    check.Add("chat.messages", "is empty", Reason::kPromptEmpty);
  }
  check.Count("chat.messages", chat.messages_size(), limits.messages);
  check.Count("chat.tools", chat.tools_size(), limits.tools);
  Conversation conversation;
  int64_t bytes = 0;
  for (const v1::ChatMessage& message : chat.messages()) {
    bytes += static_cast<int64_t>(message.role().size() + message.content().size());
    conversation.messages.push_back({message.role(), message.content()});
    check.Count("chat.messages.tool_calls", message.tool_calls_size(), limits.tool_calls);
    for (const v1::ToolCall& call : message.tool_calls()) {
      bytes += static_cast<int64_t>(call.name().size() + call.arguments().size());
      conversation.messages.back().tool_calls.push_back({call.name(), call.arguments()});
    }
  }
  for (const std::string& tool : chat.tools()) {
    bytes += static_cast<int64_t>(tool.size());
    conversation.tools.push_back(tool);
  }
  CheckPromptBytes("chat", bytes, limits, check);
  return conversation;
}

Prompt IdsPrompt(const v1::TokenIds& tokens, RequestCheck& check) {
  if (tokens.ids().empty()) check.Add("tokens.ids", "is empty", Reason::kPromptEmpty);
  return std::vector<int32_t>(tokens.ids().begin(), tokens.ids().end());
}

void CheckIds(std::string_view field, const std::vector<int32_t>& ids, int64_t vocab_size,
              RequestCheck& check) {
  constexpr int kNamed = 8;
  int named = 0;
  for (size_t i = 0; i < ids.size() && named < kNamed; ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    check.Add(absl::StrCat(std::string(field), "[", i, "]"),
              absl::StrCat("is ", ids[i], ", must be 0 to ", vocab_size - 1));
    ++named;
  }
}

void CheckPromptTokens(const Prompt& prompt, int64_t tokens, int64_t limit, RequestCheck& check) {
  const char* field = FieldOf(prompt);
  if (tokens == 0) check.Add(field, "has no token", Reason::kPromptEmpty);
  if (tokens > limit) {
    check.Add(field, absl::StrCat("has ", tokens, " tokens, limit ", limit), Reason::kPromptTooLong,
              {{"tokens", std::to_string(tokens)}, {"limit", std::to_string(limit)}});
  }
}

int64_t ContextOf(const LoadedModel& model, int64_t default_context) {
  const int64_t context = model.ContextLength(default_context);
  return context > 0 ? context : std::numeric_limits<int32_t>::max();
}

absl::StatusOr<Prompt> CheckTokenize(const v1::TokenizeRequest& request, const Limits& limits) {
  RequestCheck check;
  CheckModelRef(request.model(), limits, check);
  Prompt prompt;
  switch (request.input_case()) {
    case v1::TokenizeRequest::kText:
      prompt = TextPrompt("text", request.text(), OptionsOf(request), limits, check);
      break;
    case v1::TokenizeRequest::kTextBytes:
      prompt = TextPrompt("text_bytes", request.text_bytes(), OptionsOf(request), limits, check);
      break;
    case v1::TokenizeRequest::kChat:
      prompt = ChatPrompt(request.chat(), limits, check);
      break;
    case v1::TokenizeRequest::INPUT_NOT_SET:
      check.Add("input", "is not set", Reason::kPromptEmpty);
  }
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return prompt;
}

absl::StatusOr<std::vector<int32_t>> Encode(const Prompt& prompt, const Tokenizer& tokenizer) {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) return *ids;
  if (const auto* text = std::get_if<PromptText>(&prompt)) {
    return tokenizer.Encode(text->text, text->options);
  }
  if (const auto* chat = std::get_if<Conversation>(&prompt)) {
    return EncodeChat(tokenizer, *chat);
  }
  return Error(Reason::kPromptEmpty, "the request has no prompt");
}

absl::StatusOr<std::vector<int32_t>> EncodeFor(const Prompt& prompt, const LoadedModel& model,
                                               RequestCheck& check) {
  LFM2_ASSIGN_OR_RETURN(std::vector<int32_t> ids, Encode(prompt, *model.tokenizer));
  const int64_t vocab_size = model.config.vocab_size;
  if (std::holds_alternative<std::vector<int32_t>>(prompt)) {
    CheckIds("tokens.ids", ids, vocab_size, check);
    return ids;
  }
  for (const int32_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    return Error(
        Reason::kTokenizerMismatch,
        absl::StrCat("the tokenizer gives token ", id, ", the model's vocabulary has ", vocab_size),
        {{"id", std::to_string(id)}, {"vocab_size", std::to_string(vocab_size)}});
  }
  return ids;
}

}  // namespace lfm2
