#include "server/engine/tool_call_collector.h"

#include <gtest/gtest.h>

#include "model/tokenizer/bytes.h"

namespace lfm2 {
namespace {

constexpr int32_t kStart = 1000, kEnd = 1001;

// Bytes, and the two markers.
class MarkedTokenizer : public Tokenizer {
 public:
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view,
                                              const EncodeOptions&) const override {
    return std::vector<int32_t>();
  }
  absl::StatusOr<std::string> Decode(std::span<const int32_t>, bool) const override { return ""; }
  std::string TokenBytes(int32_t, bool, bool) const override { return ""; }
  std::optional<int32_t> TokenId(std::string_view token) const override {
    if (token == kToolCallStart) return kStart;
    if (token == kToolCallEnd) return kEnd;
    return std::nullopt;
  }
  bool IsSpecial(int32_t id) const override { return id >= kStart; }
};

// "<" and ">" stand for the markers.
std::string Say(ToolCallCollector& collector, const std::string& text) {
  std::string shown;
  for (const char c : text) {
    const int32_t id = c == '<' ? kStart : c == '>' ? kEnd : c;
    shown += collector.Push(id, id < kStart ? std::string(1, c) : "");
  }
  return shown;
}

TEST(ToolCallCollector, TakesCallsOutOfTheText) {
  ToolCallCollector collector{MarkedTokenizer()};
  EXPECT_EQ(Say(collector, "Let me see.<[f(a=1), g()]>Done.<[h()]>"), "Let me see.Done.");
  EXPECT_EQ(collector.Flush("!"), "!");
  const auto calls = collector.TakeCalls();
  ASSERT_EQ(calls.size(), 3U);
  EXPECT_EQ(calls[0].name, "f");
  EXPECT_EQ(calls[0].arguments, "{\"a\":1}");
  EXPECT_EQ(calls[2].name, "h");
  EXPECT_FALSE(collector.malformed());
}

TEST(ToolCallCollector, GivesAMalformedCallBackAsTextWithItsMarkers) {
  ToolCallCollector collector{MarkedTokenizer()};
  EXPECT_EQ(Say(collector, "a<[f(1)]>b<[g()]>"), "a<|tool_call_start|>[f(1)]<|tool_call_end|>b");
  EXPECT_TRUE(collector.malformed());
  EXPECT_EQ(collector.TakeCalls().size(), 1U);
}

TEST(ToolCallCollector, GivesACallWithoutAnEndBack) {
  ToolCallCollector collector{MarkedTokenizer()};
  EXPECT_EQ(Say(collector, "a<[f(a="), "a");
  EXPECT_EQ(collector.Flush("?"), "<|tool_call_start|>[f(a=?");
  EXPECT_TRUE(collector.malformed());
}

TEST(ToolCallCollector, LeavesTheTextAloneWithoutMarkersInTheVocabulary) {
  ToolCallCollector collector{*MakeByteTokenizer()};
  EXPECT_EQ(Say(collector, "[f()]"), "[f()]");
  ToolCallCollector off;
  EXPECT_EQ(off.Push(kStart, "x"), "x");
}

}  // namespace
}  // namespace lfm2
