#include "model/tokenizer/chat/tool_calls.h"

#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

TEST(ToolCalls, ReadsAndRefusesTheGoldenCorpus) {
  const auto cases =
      testing_support::JsonLines(testing_support::Goldens() / "tool_calls" / "tool_calls.jsonl");
  ASSERT_GT(cases.size(), 40U);
  for (const Json& line : cases) {
    const std::string text = line["text"];
    const auto calls = ParseToolCalls(text);
    ASSERT_EQ(calls.ok(), line.contains("calls")) << text << " " << calls.status();
    if (!calls.ok()) {
      EXPECT_EQ(DetailsOf(calls.status()).reason, Reason::kInvalidArgument);
      continue;
    }
    Json read = Json::array();
    for (const ToolCall& call : *calls) {
      const auto arguments = ParseJson(call.arguments);
      ASSERT_TRUE(arguments.ok()) << call.arguments;
      read.push_back({{"name", call.name}, {"arguments", *arguments}});
    }
    EXPECT_EQ(read, line["calls"]) << text;
  }
}

TEST(ToolCalls, KeepsTheOrderOfArgumentsAndNumbersOfAnySize) {
  const auto calls = ParseToolCalls("[f(z=123456789012345678901234567890, a=1)]");
  ASSERT_TRUE(calls.ok());
  EXPECT_EQ(calls->front().arguments, R"({"z":123456789012345678901234567890,"a":1})");
}

TEST(ToolCalls, RefusesANumberThatJsonCannotHold) {
  const std::string numbers[] = {"-2.5e600", "1e309", "1" + std::string(309, '0')};
  for (const std::string& number : numbers) {
    const auto calls = ParseToolCalls("[f(a=" + number + ")]");
    EXPECT_EQ(calls.status().message(), "tool call: a number is larger than 1.8e308 at byte " +
                                            std::to_string(5 + number.size()));
  }
  for (const std::string number : {"1.7e308", "-1.7e308", "1e-400"}) {
    const auto calls = ParseToolCalls("[f(a=" + number + ")]");
    ASSERT_TRUE(calls.ok()) << calls.status();
    EXPECT_TRUE(ParseJson(calls->front().arguments).ok()) << number;
  }
}

TEST(ToolCalls, RefusesAKeyThatIsGivenTwice) {
  for (const std::string dict : {"{'a': 1, 'b': {}, \"a\": 2}", "{1: 0, '1': 0}"}) {
    const auto calls = ParseToolCalls("[f(d=" + dict + ")]");
    EXPECT_TRUE(std::string(calls.status().message())
                    .starts_with("tool call: a key is given twice at byte "))
        << calls.status();
  }
  EXPECT_TRUE(ParseToolCalls("[f(d={'a': {'a': 1}})]").ok());
}

TEST(ToolCalls, WhatIsWrittenIsReadBack) {
  const std::vector<ToolCall> calls = {
      {"f", R"({"a":"it's \"so\"\n\\","b":["x'",null,true,-1.5e-07],"c":{"d":[false,null]}})"},
      {"g.h", "{}"}};
  const auto text = WriteToolCalls(calls);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto read = ParseToolCalls(*text);
  ASSERT_TRUE(read.ok()) << read.status() << " " << *text;
  ASSERT_EQ(read->size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*read)[i].name, calls[i].name);
    EXPECT_EQ((*read)[i].arguments, calls[i].arguments);
  }
  EXPECT_FALSE(WriteToolCalls({{"f", "[1]"}}).ok());
  EXPECT_FALSE(WriteToolCalls({{"f", "{"}}).ok());
}

TEST(ToolCalls, SaysWhereItGoesWrong) {
  EXPECT_EQ(ParseToolCalls("[f(a=?)]").status().message(),
            "tool call: a value is expected at byte 5");
}

TEST(ToolCalls, RefusesWhatIsOverALimit) {
  Limits limits;
  limits.tool_calls = 2;
  limits.json_depth = 3;
  limits.tool_call_bytes = 64;
  EXPECT_TRUE(ParseToolCalls("[f(), g()]", limits).ok());
  EXPECT_FALSE(ParseToolCalls("[f(), g(), h()]", limits).ok());
  EXPECT_TRUE(ParseToolCalls("[f(a=[[[1]]])]", limits).ok());
  EXPECT_FALSE(ParseToolCalls("[f(a=[[[[1]]]])]", limits).ok());
  EXPECT_FALSE(ParseToolCalls("[f(a='" + std::string(64, 'x') + "')]", limits).ok());
  EXPECT_FALSE(ParseToolCalls("[f(a=" + std::string(100'000, '['), kDefaultLimits).ok());
  EXPECT_FALSE(ParseToolCalls("[f(a='\xff')]").ok());
}

}  // namespace
}  // namespace lfm2
