// Chat messages to a prompt. Templates are known by name and chosen by what the tokenizer's file
// says; an unknown one is refused, never guessed. The text of a message never becomes a special
// token: the renderer returns segments, of which only its own are parsed for special tokens.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/chat/tool_calls.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

struct ChatMessage {
  std::string role;                       // "system", "user", "assistant", "tool"
  std::string content;                    // UTF-8
  std::vector<ToolCall> tool_calls = {};  // of an assistant; written after its content
};

struct Conversation {
  std::vector<ChatMessage> messages;
  // What the model may call, each a JSON object; written as Jinja's tojson would. Refused where the
  // template has no place for them.
  std::vector<std::string> tools = {};
};

// Token ids of the rendered conversation with the generation prompt appended, one BOS where the
// template writes it.
// kUnknownTemplate when the tokenizer has no template or one that is not known (its sha256 is in
// the metadata); kInvalidArgument for a role or a tool that the template has no place for.
absl::StatusOr<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                                const Conversation& conversation);
// The same as text (for goldens and `lfm2ctl chat --show-prompt`).
absl::StatusOr<std::string> RenderChat(const Tokenizer& tokenizer,
                                       const Conversation& conversation);

}  // namespace lfm2
