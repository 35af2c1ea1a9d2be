#include "model/tokenizer/chat_render.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "model/tokenizer/unicode.h"
#include "model/tokenizer/utf8.h"

namespace lfm2 {
namespace {

constexpr std::string_view kToolStart = "<|tool_response_start|>",
                           kToolEnd = "<|tool_response_end|>";

class Renderer {
 public:
  Renderer(const Tokenizer& tokenizer, ChatStyle style, int32_t bos)
      : tokenizer_(tokenizer),
        style_(style),
        segments_{{tokenizer.TokenBytes(bos, false, true), bos}} {}

  absl::Status Message(const ChatMessage& message, std::string_view content) {
    LFM2_RETURN_IF_ERROR(Marker(kImStart));
    Text(message.role + "\n");
    const bool wraps = message.role == "tool" && style_.wraps_tool_results;
    if (wraps) LFM2_RETURN_IF_ERROR(Marker(kToolStart));
    Text(content);
    if (wraps) LFM2_RETURN_IF_ERROR(Marker(kToolEnd));
    LFM2_RETURN_IF_ERROR(Marker(kImEnd));
    Text("\n");
    return absl::OkStatus();
  }

  absl::Status GenerationPrompt() {
    LFM2_RETURN_IF_ERROR(Marker(kImStart));
    Text("assistant\n");
    return absl::OkStatus();
  }

  std::vector<ChatSegment> Take() { return std::move(segments_); }

 private:
  absl::Status Marker(std::string_view marker) {
    const std::optional<int32_t> id = SpecialTokenId(tokenizer_, marker);
    if (!id) {
      return Error(Reason::kInvalidArgument, "the template needs the special token " +
                                                 std::string(marker) +
                                                 ", which the tokenizer lacks");
    }
    segments_.push_back({std::string(marker), id});
    return absl::OkStatus();
  }

  // Text next to text is one segment: BPE merges across the seam as it does in the reference.
  void Text(std::string_view text) {
    if (segments_.back().id) segments_.push_back({});
    segments_.back().text += text;
  }

  const Tokenizer& tokenizer_;
  ChatStyle style_;
  std::vector<ChatSegment> segments_;
};

absl::Status CheckMessages(const std::vector<ChatMessage>& messages) {
  Violations violations;
  if (messages.empty()) violations.Add("messages", "must hold at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
      violations.Add(absl::StrCat("messages[", i, "].role"),
                     "must be system, user, assistant or tool");
    }
    if (!CheckUtf8(messages[i].content).ok()) {
      violations.Add(absl::StrCat("messages[", i, "].content"), "must be valid UTF-8");
    }
  }
  return violations.ToStatus();
}

// Index of the last message of a role; -1 when there is none.
int64_t LastOf(const std::vector<ChatMessage>& messages, std::string_view role) {
  for (size_t i = messages.size(); i > 0; --i) {
    if (messages[i - 1].role == role) return static_cast<int64_t>(i) - 1;
  }
  return -1;
}

// What Python's str.strip takes off.
bool IsStripped(char32_t c) { return IsWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

std::string_view Stripped(std::string_view text) {
  size_t begin = text.size(), end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = NextUtf8(text.substr(at));
    if (!IsStripped(step.code_point)) {
      begin = std::min(begin, at);
      end = at + step.bytes;
    }
    at += step.bytes;
  }
  return end == 0 ? std::string_view() : text.substr(begin, end - begin);
}

// First message whose thinking stays.
int64_t KeepThinkingFrom(const std::vector<ChatMessage>& messages, PastThinking past) {
  if (past == PastThinking::kDroppedBeforeLastAnswer) return LastOf(messages, "assistant");
  if (past == PastThinking::kDroppedBeforeLastQuestion) return LastOf(messages, "user") + 1;
  return 0;
}

}  // namespace

std::optional<int32_t> SpecialTokenId(const Tokenizer& tokenizer, std::string_view marker) {
  const std::optional<int32_t> id = tokenizer.TokenId(marker);
  return id && tokenizer.IsSpecial(*id) ? id : std::nullopt;
}

absl::StatusOr<std::vector<ChatSegment>> RenderSegments(const Tokenizer& tokenizer,
                                                        const ChatStyle& style,
                                                        const std::vector<ChatMessage>& messages) {
  LFM2_RETURN_IF_ERROR(CheckMessages(messages));
  constexpr std::string_view kThinkEnd = "</think>";
  const int64_t keep_from = KeepThinkingFrom(messages, style.past_thinking);
  Renderer renderer(tokenizer, style, *tokenizer.bos());
  for (size_t i = 0; i < messages.size(); ++i) {
    std::string_view content = messages[i].content;
    const bool drops =
        style.drops_empty_system && i == 0 && messages[i].role == "system" && content.empty();
    if (drops) continue;
    const size_t think_end = content.rfind(kThinkEnd);
    const bool is_past = messages[i].role == "assistant" && static_cast<int64_t>(i) < keep_from;
    if (is_past && think_end != std::string_view::npos)
      content = Stripped(content.substr(think_end + kThinkEnd.size()));
    LFM2_RETURN_IF_ERROR(renderer.Message(messages[i], content));
  }
  LFM2_RETURN_IF_ERROR(renderer.GenerationPrompt());
  return renderer.Take();
}

}  // namespace lfm2
