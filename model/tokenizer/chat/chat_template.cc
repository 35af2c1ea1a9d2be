#include "model/tokenizer/chat/chat_template.h"

#include <optional>
#include <string_view>

#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/tokenizer/chat/chat_render.h"
#include "model/tokenizer/chat/known_templates.h"

namespace lfm2 {
namespace {

constexpr std::string_view kStartOfText = "<|startoftext|>";

absl::StatusOr<ChatStyle> StyleOf(const Tokenizer& tokenizer) {
  const std::string& jinja = tokenizer.chat_template();
  if (jinja.empty()) {
    // LFM2's own vocabulary without its template is recognised by its special tokens.
    const bool is_lfm2 = SpecialTokenId(tokenizer, kImStart) && SpecialTokenId(tokenizer, kImEnd) &&
                         tokenizer.bos() &&
                         tokenizer.bos() == SpecialTokenId(tokenizer, kStartOfText);
    if (is_lfm2) return kLfm2Style;
    return Error(Reason::kUnknownTemplate, "the tokenizer has no chat template", {{"sha256", ""}});
  }
  const std::optional<ChatStyle> style = RecognizeTemplate(jinja);
  const std::string sha256 = Sha256Hex(jinja);
  if (!style) {
    return Error(Reason::kUnknownTemplate,
                 "the chat template with SHA-256 " + sha256 + " is not known",
                 {{"sha256", sha256}});
  }
  std::string lacks = style->bos == BosRule::kOneFirst && !tokenizer.bos() ? "a BOS" : "";
  for (std::string_view marker : MarkersOf(style->family)) {
    if (SpecialTokenId(tokenizer, marker)) continue;
    lacks += (lacks.empty() ? "" : ", ") + std::string(marker);
  }
  if (!lacks.empty()) {
    return Error(Reason::kUnknownTemplate,
                 std::string("the chat template of ") + style->name + " needs " + lacks +
                     ", which the tokenizer lacks",
                 {{"sha256", sha256}});
  }
  return *style;
}

absl::StatusOr<std::vector<ChatSegment>> Render(const Tokenizer& tokenizer,
                                                const Conversation& conversation) {
  LFM2_ASSIGN_OR_RETURN(const ChatStyle style, StyleOf(tokenizer));
  return RenderSegments(tokenizer, style, conversation);
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> EncodeChat(const Tokenizer& tokenizer,
                                                const Conversation& conversation) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<ChatSegment> segments, Render(tokenizer, conversation));
  std::vector<int32_t> ids;
  for (const ChatSegment& segment : segments) {
    if (segment.id) {
      ids.push_back(*segment.id);
      continue;
    }
    LFM2_ASSIGN_OR_RETURN(
        const std::vector<int32_t> text,
        tokenizer.Encode(segment.text, {.add_special = false, .parse_special = false}));
    ids.insert(ids.end(), text.begin(), text.end());
  }
  return ids;
}

absl::StatusOr<std::string> RenderChat(const Tokenizer& tokenizer,
                                       const Conversation& conversation) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<ChatSegment> segments, Render(tokenizer, conversation));
  std::string text;
  for (const ChatSegment& segment : segments) text += segment.text;
  return text;
}

}  // namespace lfm2
