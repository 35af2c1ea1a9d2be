// Converts chat messages to a prompt. The tokenizer's file decides which of the known templates is
// used; an unknown one is refused, never guessed. The text of a message never becomes a special
// token: the renderer returns segments, and special tokens are parsed only in its own segments.
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
  std::vector<ToolCall> tool_calls = {};  // of an assistant message; written after its content
};

struct Conversation {
  std::vector<ChatMessage> messages;
  // The functions that the model may call, each a JSON object; written as Jinja's tojson does.
  // Refused when the template does not support them.
  std::vector<std::string> tools = {};
};

// Token ids of the rendered conversation with the generation prompt appended, and one BOS if the
// template writes it.
// kUnknownTemplate when the tokenizer has no template or an unknown one (its sha256 is in the
// metadata); kInvalidArgument for a role or a tool that the template does not support.
absl::StatusOr<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                                const Conversation& conversation);
// The same as text (for goldens and `lfm2ctl chat --show-prompt`).
absl::StatusOr<std::string> RenderChat(const Tokenizer& tokenizer,
                                       const Conversation& conversation);

}  // namespace lfm2
