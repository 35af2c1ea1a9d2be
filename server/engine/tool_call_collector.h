// Extracts a model's function calls from its text. Text between the two markers is not shown; it
// becomes calls or, if it is malformed, text again, with its markers.
//
// Thread rule: one thread. Ownership: plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/tokenizer/chat/tool_calls.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

class ToolCallCollector {
 public:
  ToolCallCollector() = default;  // extracts nothing
  // Extracts nothing if the tokenizer does not have both markers.
  explicit ToolCallCollector(const Tokenizer& tokenizer);

  // Takes a token and the text that it completed; returns the text to show.
  std::string Push(int32_t id, std::string text);
  // Returns an unfinished call as text; `text` is what the decoder held back.
  std::string Flush(std::string text);

  std::vector<ToolCall> TakeCalls() { return std::move(calls_); }
  bool malformed() const { return malformed_; }

 private:
  std::string GiveUp(bool ended);

  std::optional<int32_t> start_, end_;
  bool inside_ = false;
  bool malformed_ = false;
  std::string call_;
  std::vector<ToolCall> calls_;
};

}  // namespace lfm2
