// The chat templates this program can render itself, recognised by their text.
//
// A template is a program in Jinja; none is run here. Each known one was rendered with Jinja over
// the conversations of tests/goldens/chat, and the styles below give the same texts for messages
// that hold a role and a string. Thread rule: pure.
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

// All are ChatML with one BOS: <|im_start|>role\ncontent<|im_end|>\n.
struct ChatStyle {
  bool drops_empty_system = false;  // a first system message without text leaves no trace
  bool wraps_tool_results = false;  // in <|tool_response_start|> and <|tool_response_end|>
  PastThinking past_thinking = PastThinking::kKept;
};

inline constexpr ChatStyle kPlainStyle = {false, false, PastThinking::kKept};
inline constexpr ChatStyle kLfm2Style = {true, true, PastThinking::kKept};
inline constexpr ChatStyle kLfm25Style = {true, false, PastThinking::kDroppedBeforeLastAnswer};
inline constexpr ChatStyle kLfm25PreserveStyle = {true, false,
                                                  PastThinking::kDroppedBeforeLastQuestion};

// Jinja drops the white space beside a tag that carries a minus; so does this, so that a template
// that was only indented otherwise keeps its hash.
std::string NormalizeTemplate(std::string_view jinja);

std::optional<ChatStyle> RecognizeTemplate(std::string_view jinja);

}  // namespace lfm2
