// Renders a conversation as segments: the template's own special tokens, and texts in which special
// tokens are never parsed. Thread rule: pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/tokenizer/chat/chat_template.h"
#include "model/tokenizer/chat/known_templates.h"

namespace lfm2 {

inline constexpr std::string_view kImStart = "<|im_start|>", kImEnd = "<|im_end|>";

struct ChatSegment {
  std::string text;
  std::optional<int32_t> id;  // set for a special token; otherwise the segment is text
};

// Id of a special token of this name.
std::optional<int32_t> SpecialTokenId(const Tokenizer& tokenizer, std::string_view name);

// The special tokens that begin and end a message of the family.
std::span<const std::string_view> MarkersOf(ChatFamily family);

// Ends with the generation prompt. The tokenizer must have a BOS if the style needs one.
// kInvalidArgument, naming the wrong messages and tools.
absl::StatusOr<std::vector<ChatSegment>> RenderSegments(const Tokenizer& tokenizer,
                                                        const ChatStyle& style,
                                                        const Conversation& conversation);

}  // namespace lfm2
