#include "server/engine/tool_call_collector.h"

#include <iterator>
#include <utility>

namespace lfm2 {

ToolCallCollector::ToolCallCollector(const Tokenizer& tokenizer) {
  const std::optional<int32_t> start = tokenizer.TokenId(kToolCallStart);
  const std::optional<int32_t> end = tokenizer.TokenId(kToolCallEnd);
  if (!start || !end || !tokenizer.IsSpecial(*start) || !tokenizer.IsSpecial(*end)) return;
  start_ = start;
  end_ = end;
}

std::string ToolCallCollector::GiveUp(bool ended) {
  malformed_ = true;
  inside_ = false;
  std::string text = std::string(kToolCallStart) + std::exchange(call_, {});
  if (ended) text += kToolCallEnd;
  return text;
}

std::string ToolCallCollector::Push(int32_t id, std::string text) {
  if (id == start_ && !inside_) {
    inside_ = true;
    return text;
  }
  if (!inside_) return text;
  call_ += text;
  if (id != end_) {
    const bool too_long = static_cast<int64_t>(call_.size()) > kDefaultLimits.tool_call_bytes;
    return too_long ? GiveUp(false) : "";
  }
  absl::StatusOr<std::vector<ToolCall>> calls = ParseToolCalls(call_);
  const auto most = static_cast<size_t>(kDefaultLimits.tool_calls);
  if (!calls.ok() || calls_.size() + calls->size() > most) return GiveUp(true);
  inside_ = false;
  call_.clear();
  std::move(calls->begin(), calls->end(), std::back_inserter(calls_));
  return "";
}

std::string ToolCallCollector::Flush(std::string text) {
  if (!inside_) return text;
  call_ += text;
  return GiveUp(false);
}

}  // namespace lfm2
