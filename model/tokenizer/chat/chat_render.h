// A conversation as segments: the template's own special tokens, and texts that are never parsed
// for any. Thread rule: pure.
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
  std::optional<int32_t> id;  // of a special token; otherwise a text
};

// Id of a special token of this name.
std::optional<int32_t> SpecialTokenId(const Tokenizer& tokenizer, std::string_view name);

// The special tokens that messages of the family stand between.
std::span<const std::string_view> MarkersOf(ChatFamily family);

// With the generation prompt at the end. The tokenizer has a BOS where the style wants one.
// kInvalidArgument naming the messages and tools that are wrong.
absl::StatusOr<std::vector<ChatSegment>> RenderSegments(const Tokenizer& tokenizer,
                                                        const ChatStyle& style,
                                                        const Conversation& conversation);

}  // namespace lfm2
