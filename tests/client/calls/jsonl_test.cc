#include "client/calls/jsonl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Outcome Pipe(const FakeServer& server, std::vector<std::string> arguments, const std::string& in) {
  RunOptions options;
  options.in = in;
  return RunCtl(server, std::move(arguments), options);
}

TEST(Jsonl, TokenizeGivesALineForALine) {
  const FakeServer server;
  const Outcome outcome =
      Pipe(server, {"tokenize", "--model", "ckpt", "--jsonl", "--no-special", "--allow-special"},
           "{\"text\": \"ab\"}\n{\"text\": \"\"}\n{\"text\":\"c\"}");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "{\"ids\":[97,98]}\n{\"ids\":[]}\n{\"ids\":[99]}\n");
  EXPECT_EQ(server.captured.tokenize[0].model().name(), "ckpt");
  EXPECT_TRUE(server.captured.tokenize[0].has_add_special());
  EXPECT_FALSE(server.captured.tokenize[0].add_special());
  EXPECT_TRUE(server.captured.tokenize[0].parse_special());
}

TEST(Jsonl, DetokenizeIsTheOtherWay) {
  const FakeServer server;
  EXPECT_EQ(Pipe(server, {"detokenize", "--jsonl"}, "{\"ids\":[97,98]}\n").out,
            "{\"text\":\"ab\"}\n");
}

TEST(Jsonl, ScoreTakesIdsOrText) {
  const FakeServer server;
  const Outcome outcome =
      Pipe(server, {"score", "--jsonl"}, "{\"ids\":[1,2,3]}\n{\"text\":\"x\"}\n");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out.substr(0, outcome.out.find('\n')))["logprobs"],
            Json({-1.0, -0.5}));
  EXPECT_THAT(server.captured.score[0].tokens().ids(), ElementsAre(1, 2, 3));
  EXPECT_EQ(server.captured.score[1].text(), "x");
}

TEST(Jsonl, ABadLineIsNamedAndEndsWith5) {
  const FakeServer server;
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"tokenize", "{\"text\":\"a\"}\nnot json\n"},
      {"tokenize", "{\"text\":\"a\"}\n[1]\n"},
      {"tokenize", "{\"text\":\"a\"}\n\n"},
      {"tokenize", "{\"text\":\"a\"}\n{\"text\":1}\n"},
      {"detokenize", "{\"ids\":[1]}\n{\"ids\":[1.5]}\n"},
      {"detokenize", "{\"ids\":[1]}\n{\"ids\":[4294967296]}\n"},
      {"score", "{\"ids\":[1]}\n{\"ids\":[1],\"text\":\"a\"}\n"}};
  for (const auto& [verb, in] : bad) {
    const Outcome outcome = Pipe(server, {verb, "--jsonl"}, in);
    EXPECT_EQ(outcome.code, 5) << verb << in;
    EXPECT_THAT(outcome.err, HasSubstr("line 2"));
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1) << verb << in;
  }
}

TEST(Jsonl, AnErrorOfTheServerKeepsItsCode) {
  FakeServer server;
  server.errors["Tokenize"] = grpc::Status(grpc::StatusCode::UNAVAILABLE, "loading");
  const Outcome outcome = Pipe(server, {"tokenize", "--jsonl"}, "{\"text\":\"a\"}\n");
  EXPECT_EQ(outcome.code, 6);
  EXPECT_THAT(outcome.err, HasSubstr("line 1: loading"));
}

TEST(Tokenize, OneTextOneLine) {
  const FakeServer server;
  EXPECT_EQ(RunCtl(server, {"tokenize", "--text", "ab"}).out, "97,98\n");
  EXPECT_EQ(Pipe(server, {"detokenize"}, "97, 98\n").out, "ab");
  EXPECT_EQ(RunCtl(server, {"detokenize", "--tokens", "97", "-o", "json"}).out,
            "{\"text\":\"a\"}\n");
  EXPECT_EQ(Pipe(server, {"detokenize"}, "x").code, 5);
}

TEST(Score, TheTableEndsWithThePerplexity) {
  const FakeServer server;
  EXPECT_THAT(RunCtl(server, {"score", "--text", "x"}).out,
              HasSubstr("sum -1.500000  mean -0.750000  perplexity 2.1170"));
}

}  // namespace
}  // namespace lfm2
