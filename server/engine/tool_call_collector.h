// Takes a model's function calls out of the text that it writes. Between the two markers nothing is
// shown; what stands there becomes calls, or, when it is malformed, text again with its markers.
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
  ToolCallCollector() = default;  // takes nothing out
  // Takes nothing out when the tokenizer lacks a marker.
  explicit ToolCallCollector(const Tokenizer& tokenizer);

  // The token and the text that became complete with it; what is to be shown.
  std::string Push(int32_t id, std::string text);
  // A call that was not ended, as text; `text` is what the decoder held back.
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
