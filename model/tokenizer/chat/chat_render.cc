#include "model/tokenizer/chat/chat_render.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/unicode/unicode.h"

namespace lfm2 {
namespace {

constexpr std::string_view kToolStart = "<|tool_response_start|>",
                           kToolEnd = "<|tool_response_end|>";

constexpr std::string_view kListStart = "<|tool_list_start|>", kListEnd = "<|tool_list_end|>";

constexpr std::string_view kHeaderStart = "<|start_header_id|>", kHeaderEnd = "<|end_header_id|>",
                           kTurnEnd = "<|eot_id|>";
constexpr std::string_view kChatMlMarkers[] = {kImStart, kImEnd};
constexpr std::string_view kLlama3Markers[] = {kHeaderStart, kHeaderEnd, kTurnEnd};

class Renderer {
 public:
  Renderer(const Tokenizer& tokenizer, ChatStyle style) : tokenizer_(tokenizer), style_(style) {
    if (style_.bos == BosRule::kNone) return;
    const int32_t bos = *tokenizer.bos();
    segments_.push_back({tokenizer.TokenBytes(bos, false, true), bos});
  }

  // `calls`: the result of WriteToolCalls, or empty.
  absl::Status Message(std::string_view role, std::string_view content,
                       std::string_view calls = {}) {
    const bool wraps = role == "tool" && style_.tool_results == ToolResults::kWrapped;
    LFM2_RETURN_IF_ERROR(Opening(role));
    if (wraps) LFM2_RETURN_IF_ERROR(Marker(kToolStart));
    Text(content);
    if (wraps) LFM2_RETURN_IF_ERROR(Marker(kToolEnd));
    if (!calls.empty()) {
      LFM2_RETURN_IF_ERROR(Marker(kToolCallStart));
      Text(calls);
      LFM2_RETURN_IF_ERROR(Marker(kToolCallEnd));
    }
    return Closing();
  }

  // The system message, which ends with the descriptions of functions.
  absl::Status SystemWithTools(std::string_view content, const std::vector<std::string>& tools) {
    const bool marks = style_.tool_list == ToolList::kMarked;
    LFM2_RETURN_IF_ERROR(Opening("system"));
    Text(content);
    Text(content.empty() ? "List of tools: " : "\nList of tools: ");
    if (marks) LFM2_RETURN_IF_ERROR(Marker(kListStart));
    Text("[" + absl::StrJoin(tools, ", ") + "]");
    if (marks) LFM2_RETURN_IF_ERROR(Marker(kListEnd));
    return Closing();
  }

  absl::Status GenerationPrompt() { return Opening("assistant"); }

  std::vector<ChatSegment> Take() { return std::move(segments_); }

 private:
  absl::Status Closing() {
    if (style_.family == ChatFamily::kLlama3) return Marker(kTurnEnd);
    LFM2_RETURN_IF_ERROR(Marker(kImEnd));
    Text("\n");
    return absl::OkStatus();
  }

  absl::Status Opening(std::string_view role) {
    if (style_.family == ChatFamily::kLlama3) {
      LFM2_RETURN_IF_ERROR(Marker(kHeaderStart));
      Text(role);
      LFM2_RETURN_IF_ERROR(Marker(kHeaderEnd));
      Text("\n\n");
      return absl::OkStatus();
    }
    LFM2_RETURN_IF_ERROR(Marker(kImStart));
    Text(std::string(role) + "\n");
    return absl::OkStatus();
  }

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

  // Adjacent texts become one segment, so that BPE merges across them as in the reference.
  void Text(std::string_view text) {
    if (segments_.empty() || segments_.back().id) segments_.push_back({});
    segments_.back().text += text;
  }

  const Tokenizer& tokenizer_;
  ChatStyle style_;
  std::vector<ChatSegment> segments_;
};

// The calls of each message, written.
std::vector<std::string> CheckMessages(const ChatStyle& style,
                                       const std::vector<ChatMessage>& messages,
                                       Violations& violations) {
  std::vector<std::string> calls(messages.size());
  if (messages.empty()) violations.Add("messages", "must hold at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
      violations.Add(absl::StrCat("messages[", i, "].role"),
                     "must be system, user, assistant or tool");
    } else if (role == "tool" && style.tool_results == ToolResults::kRefused) {
      violations.Add(
          absl::StrCat("messages[", i, "].role"),
          absl::StrCat("is tool, which is not supported by the template of ", style.name));
    }
    if (!CheckUtf8(messages[i].content).ok()) {
      violations.Add(absl::StrCat("messages[", i, "].content"), "must be valid UTF-8");
    }
    if (messages[i].tool_calls.empty()) continue;
    const std::string field = absl::StrCat("messages[", i, "].tool_calls");
    const absl::StatusOr<std::string> written = WriteToolCalls(messages[i].tool_calls);
    if (role != "assistant" || style.tool_list == ToolList::kRefused) {
      violations.Add(field, absl::StrCat("are not allowed in a message of ", role,
                                         " in the chat template of ", style.name));
    } else if (!written.ok()) {
      violations.Add(field, std::string(written.status().message()));
    } else {
      calls[i] = *written;
    }
  }
  return calls;
}

// Written as Jinja's tojson does, because the models were trained on that form.
std::vector<std::string> ToolTexts(const ChatStyle& style, const std::vector<std::string>& tools,
                                   Violations& violations) {
  std::vector<std::string> texts;
  if (!tools.empty() && style.tool_list == ToolList::kRefused) {
    violations.Add("tools", absl::StrCat("are not supported by the chat template of ", style.name));
    return texts;
  }
  for (size_t i = 0; i < tools.size(); ++i) {
    const absl::StatusOr<Json> tool = ParseJson(tools[i]);
    const std::string field = absl::StrCat("tools[", i, "]");
    if (!tool.ok()) {
      violations.Add(field, absl::StrCat("is not JSON: ", tool.status().message()));
    } else if (!tool->is_object()) {
      violations.Add(field, "must be a JSON object");
    } else {
      texts.push_back(SpacedJson(*tool));
    }
  }
  return texts;
}

// Index of the last message with this role; -1 if no message has it.
int64_t LastOf(const std::vector<ChatMessage>& messages, std::string_view role) {
  for (size_t i = messages.size(); i > 0; --i) {
    if (messages[i - 1].role == role) return static_cast<int64_t>(i) - 1;
  }
  return -1;
}

// The characters that Python's str.strip removes.
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

std::string_view WithoutThinking(std::string_view content) {
  constexpr std::string_view kThinkEnd = "</think>";
  const size_t end = content.rfind(kThinkEnd);
  return end == std::string_view::npos ? content : Stripped(content.substr(end + kThinkEnd.size()));
}

// Index of the first message whose thinking is kept.
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

std::span<const std::string_view> MarkersOf(ChatFamily family) {
  if (family == ChatFamily::kLlama3) return kLlama3Markers;
  return kChatMlMarkers;
}

absl::StatusOr<std::vector<ChatSegment>> RenderSegments(const Tokenizer& tokenizer,
                                                        const ChatStyle& style,
                                                        const Conversation& conversation) {
  const std::vector<ChatMessage>& messages = conversation.messages;
  Violations violations;
  const std::vector<std::string> calls = CheckMessages(style, messages, violations);
  const std::vector<std::string> tools = ToolTexts(style, conversation.tools, violations);
  LFM2_RETURN_IF_ERROR(violations.ToStatus());
  const int64_t keep_from = KeepThinkingFrom(messages, style.past_thinking);
  Renderer renderer(tokenizer, style);
  const bool has_system = messages[0].role == "system";
  if (!has_system && !style.default_system.empty()) {
    LFM2_RETURN_IF_ERROR(renderer.Message("system", style.default_system));
  }
  if (!has_system && !style.system_preface.empty()) {
    LFM2_RETURN_IF_ERROR(renderer.Message("system", style.system_preface));
  }
  if (!tools.empty()) {
    LFM2_RETURN_IF_ERROR(renderer.SystemWithTools(has_system ? messages[0].content : "", tools));
  }
  for (size_t i = has_system && !tools.empty() ? 1 : 0; i < messages.size(); ++i) {
    const std::string_view role = messages[i].role;
    std::string_view content = messages[i].content;
    const bool is_first_system = i == 0 && has_system;
    if (is_first_system && style.drops_empty_system && content.empty()) continue;
    if (role == "assistant" && static_cast<int64_t>(i) < keep_from)
      content = WithoutThinking(content);
    if (style.family == ChatFamily::kLlama3) content = Stripped(content);
    const std::string_view preface = is_first_system ? style.system_preface : std::string_view();
    LFM2_RETURN_IF_ERROR(renderer.Message(role, std::string(preface).append(content), calls[i]));
  }
  LFM2_RETURN_IF_ERROR(renderer.GenerationPrompt());
  return renderer.Take();
}

}  // namespace lfm2
