// The chat templates that this program can render, recognised by their text.
//
// A template is a Jinja program, but this program does not run it. Each known one was rendered with
// Jinja for the conversations of tests/goldens/chat, and the styles below give the same texts for
// messages with a role and a string. Thread rule: pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lfm2 {

// Which part of earlier assistant messages is left out, up to their last "</think>".
enum class PastThinking {
  kKept,
  kDroppedBeforeLastAnswer,    // in all assistant messages but the last
  kDroppedBeforeLastQuestion,  // in all assistant messages before the last user message
};

enum class ChatFamily {
  kChatMl,  // <|im_start|>role\ncontent<|im_end|>\n
  kLlama3,  // <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>, the content stripped
};

enum class BosRule { kOneFirst, kNone };
enum class ToolResults {
  kAsTheyAre,
  kWrapped,  // in <|tool_response_start|> and <|tool_response_end|>
  kRefused,  // the template writes them as JSON, which is not done here
};

// How functions are described, as a JSON list at the end of the first system message.
enum class ToolList {
  kRefused,  // the template does not support them, or puts them elsewhere
  kPlain,
  kMarked,  // between <|tool_list_start|> and <|tool_list_end|>
};

struct ChatStyle {
  const char* name = "";
  ChatFamily family = ChatFamily::kChatMl;
  BosRule bos = BosRule::kOneFirst;
  bool drops_empty_system = false;  // an empty first system message is left out
  ToolResults tool_results = ToolResults::kAsTheyAre;
  ToolList tool_list = ToolList::kRefused;
  PastThinking past_thinking = PastThinking::kKept;
  std::string_view default_system = {};  // used when the first message is not a system message
  std::string_view system_preface = {};  // begins the system message, which is then always written
};

inline constexpr ChatStyle kPlainStyle = {.name = "ChatML with a BOS"};
inline constexpr ChatStyle kChatMlStyle = {.name = "ChatML", .bos = BosRule::kNone};
inline constexpr ChatStyle kSmolLm2Style = {
    .name = "SmolLM2",
    .bos = BosRule::kNone,
    .default_system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"};
inline constexpr ChatStyle kLfm2Style = {.name = "LFM2",
                                         .drops_empty_system = true,
                                         .tool_results = ToolResults::kWrapped,
                                         .tool_list = ToolList::kMarked};
inline constexpr ChatStyle kLfm25Style = {.name = "LFM2.5",
                                          .drops_empty_system = true,
                                          .tool_list = ToolList::kPlain,
                                          .past_thinking = PastThinking::kDroppedBeforeLastAnswer};
inline constexpr ChatStyle kLfm25PreserveStyle = {
    .name = "LFM2.5 with preserve_thinking",
    .drops_empty_system = true,
    .tool_list = ToolList::kPlain,
    .past_thinking = PastThinking::kDroppedBeforeLastQuestion};
inline constexpr ChatStyle kLlama3Style = {.name = "Llama 3", .family = ChatFamily::kLlama3};
// The dates are the template's defaults. Llama 3.2's template writes the day on which it is
// rendered, so it is not supported.
inline constexpr ChatStyle kLlama31Style = {
    .name = "Llama 3.1",
    .family = ChatFamily::kLlama3,
    .tool_results = ToolResults::kRefused,
    .system_preface = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"};

// Removes the white space that Jinja ignores beside a tag with a minus, so that a template that
// differs only in indentation has the same hash.
std::string NormalizeTemplate(std::string_view jinja);

std::optional<ChatStyle> RecognizeTemplate(std::string_view jinja);

}  // namespace lfm2
