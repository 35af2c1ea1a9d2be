// Structured output through a real server: whatever the model wants to say, the text is what was
// asked for, and a grammar that is wrong or slow is its own request's trouble.
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "base/json.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

constexpr char kSchema[] = R"({"type": "object",
  "properties": {"name": {"type": "string", "maxLength": 6}, "n": {"type": "integer", "minimum": 0, "maximum": 999}},
  "required": ["name", "n"], "additionalProperties": false})";
// Tens of milliseconds of compiling, for a vocabulary of bytes.
std::string SlowToCompile() {
  std::string regex;
  for (int i = 0; i < 1200; ++i) regex += "(a|b|cd)*x?";
  return regex;
}
// Seconds of it.
std::string VerySlowToCompile(const std::string& last) {
  std::string ebnf = "root ::= ";
  for (int i = 0; i < 6000; ++i) ebnf += "[a-z]* ";
  return ebnf + '"' + last + '"';
}
// Compiles at once; saying what may follow can take seconds.
constexpr char kSlowToMatch[] = "(?:(?:(?:a|ab|abc){1,1000}|(?:b|bc)*){1,1000}c)*d";

// Any token of those that are allowed, by a hash of the text and the seed.
int32_t RandomAllowed(std::span<const int32_t> history, const StepItem& item) {
  if (item.allowed.empty()) return NextPrintable(history, item);
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < 259; ++id) {
    if (item.allowed[static_cast<size_t>(id) / 32] >> (id % 32) & 1) ids.push_back(id);
  }
  uint64_t hash = 1469598103934665603ULL ^ item.sampling->seed;
  for (const int32_t token : history) {
    hash = (hash ^ static_cast<uint64_t>(token)) * 1099511628211ULL;
  }
  return ids[(hash >> 20) % ids.size()];
}

class StructureTest : public RpcTest {
 protected:
  StructureTest() { script_.next = RandomAllowed; }
  static v1::GenerateRequest AskSeeded(uint64_t seed, int64_t max_new_tokens = 1500) {
    v1::GenerateRequest request = Ask("x", max_new_tokens);
    request.mutable_sampling()->set_seed(seed);
    return request;
  }
  static v1::FinishReason FinishOf(const Answer& answer) {
    return answer.events.empty() ? v1::FINISH_REASON_UNSPECIFIED
                                 : answer.events.back().end().finish_reason();
  }
  static void ExpectPerson(const Answer& answer) {
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    if (FinishOf(answer) == v1::FINISH_REASON_LENGTH) return;
    const auto json = ParseJson(answer.text);
    ASSERT_TRUE(json.ok()) << answer.text;
    EXPECT_TRUE((*json)["name"].is_string() && (*json)["n"].is_number_integer()) << answer.text;
  }
};

TEST_F(StructureTest, TextIsJsonOfTheSchemaForEverySeedAndEndsWhereTheJsonDoes) {
  Start();
  int ended = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    v1::GenerateRequest request = AskSeeded(seed);
    request.set_json_schema(kSchema);
    const Answer answer = Generate(request);
    ExpectPerson(answer);
    ended += FinishOf(answer) == v1::FINISH_REASON_EOS ? 1 : 0;
  }
  EXPECT_GT(ended, 180);
}

TEST_F(StructureTest, RequestsOfOneBatchFollowTheirOwnGrammarsAndABadOneFailsAlone) {
  Start();
  std::vector<std::future<void>> callers;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    callers.push_back(std::async(std::launch::async, [this, seed] {
      v1::GenerateRequest request = AskSeeded(seed);
      if (seed % 4 == 0) request.set_json_schema(kSchema);
      if (seed % 4 == 1) request.set_regex("(ab|ba){3}");
      if (seed % 4 == 2) request.set_ebnf("root ::= \"y\"");
      if (seed % 4 == 3) request.set_regex("((");
      const Answer answer = Generate(request);
      if (seed % 4 == 0) ExpectPerson(answer);
      if (seed % 4 == 1) {
        ASSERT_EQ(answer.text.size(), 6U);
        for (size_t i = 0; i < 6; i += 2) EXPECT_NE(answer.text[i], answer.text[i + 1]);
      }
      if (seed % 4 == 2) {
        EXPECT_EQ(answer.text, "y");
      }
      if (seed % 4 == 3) {
        EXPECT_EQ(ReasonOf(answer.status), "GRAMMAR_INVALID");
      }
    }));
  }
  for (auto& caller : callers) caller.get();
}

TEST_F(StructureTest, NamesTheFieldThatIsWrong) {
  Start();
  v1::GenerateRequest request = AskSeeded(1);
  request.set_json_schema("{");
  Answer answer = Generate(request);
  EXPECT_EQ(ReasonOf(answer.status), "GRAMMAR_INVALID");
  EXPECT_EQ(FieldsOf(answer.status), std::vector<std::string>{"json_schema"});
  request.set_regex("a");
  request.set_ignore_eos(true);
  answer = Generate(request);
  EXPECT_EQ(ReasonOf(answer.status), "INVALID_ARGUMENT");
  EXPECT_EQ(FieldsOf(answer.status), std::vector<std::string>{"ignore_eos"});
  request.set_ignore_eos(false);
  request.set_regex(std::string((64 << 10) + 1, 'a'));
  EXPECT_EQ(ReasonOf(Generate(request).status), "GRAMMAR_INVALID");
}

TEST_F(StructureTest, AGrammarThatIsSlowToCompileFailsItsOwnRequest) {
  limits_.grammar_compile_ms = 1;
  Start();
  v1::GenerateRequest slow = AskSeeded(1);
  slow.set_regex(SlowToCompile());
  EXPECT_EQ(ReasonOf(Generate(slow).status), "GRAMMAR_TOO_SLOW");
  v1::GenerateRequest plain = AskSeeded(2, 16);
  EXPECT_TRUE(Generate(plain).status.ok());
  EXPECT_EQ(ReasonOf(Generate(slow).status), "GRAMMAR_TOO_SLOW");
}

TEST_F(StructureTest, RequestsWhoseGrammarsAreInnocentGoOnBesideSlowOnes) {
  limits_.grammar_compile_ms = 300;
  limits_.grammar_step_ms = 300;
  Start();
  v1::GenerateRequest text = AskSeeded(1);
  text.set_regex("[a-z ]{399,400}");
  EXPECT_TRUE(Generate(text).status.ok());  // its grammar is compiled
  std::vector<std::future<void>> slow;
  for (const char* last : {"y", "z"}) {
    slow.push_back(std::async(std::launch::async, [this, last] {
      v1::GenerateRequest request = AskSeeded(2);
      request.set_ebnf(VerySlowToCompile(last));
      EXPECT_EQ(ReasonOf(Generate(request).status), "GRAMMAR_TOO_SLOW");
    }));
  }
  std::vector<std::future<Answer>> innocent;
  for (const char* regex : {"[a-z ]{399,400}", "[a-z]{3}"}) {
    innocent.push_back(std::async(std::launch::async, [this, regex] {
      v1::GenerateRequest request = AskSeeded(3);
      request.set_regex(regex);
      return Generate(request);
    }));
  }
  EXPECT_GE(innocent[0].get().text.size(), 399U);
  EXPECT_EQ(innocent[1].get().text.size(), 3U);
  for (auto& caller : slow) caller.get();
}

// The executor has four threads.
TEST_F(StructureTest, NoThreadOfTheExecutorWaitsForACompile) {
  limits_.grammar_compile_ms = 1000;
  Start();
  std::atomic<int> ended = 0;
  std::vector<std::future<void>> slow;
  for (const char* last : {"u", "v", "x", "y"}) {
    slow.push_back(std::async(std::launch::async, [this, &ended, last] {
      v1::GenerateRequest request = AskSeeded(1);
      request.set_ebnf(VerySlowToCompile(last));
      EXPECT_FALSE(Generate(request).status.ok());  // too slow, or there was no time to find out
      ++ended;
    }));
  }
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  while (std::chrono::steady_clock::now() < until) {
    v1::TokenizeRequest request;
    request.mutable_model()->set_name("fake");
    request.set_text("x");
    v1::TokenizeResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(generation_->Tokenize(&context, request, &response).ok());
    EXPECT_EQ(ended, 0);
  }
  for (auto& caller : slow) caller.get();
}

TEST_F(StructureTest, ACancelledCallsGrammarMayComeAfterTheServerIsGone) {
  limits_.grammar_compile_ms = 200;
  std::atomic<bool> loaded = false;
  before_load_ = [&loaded](const std::string&) { loaded = true; };
  Start();
  grpc::ClientContext context;
  auto slow = std::async(std::launch::async, [this, &context] {
    v1::GenerateRequest request = AskSeeded(1);
    request.set_ebnf(VerySlowToCompile("z"));
    return Generate(request, context);
  });
  EXPECT_TRUE(Eventually([&] { return loaded.load(); }));
  context.TryCancel();
  EXPECT_EQ(slow.get().status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(StructureTest, AGrammarThatIsSlowToMatchHoldsNobodyElseUp) {
  limits_.grammar_step_ms = 100;
  script_.next = [](std::span<const int32_t> history, const StepItem& item) {
    if (item.allowed.empty()) return NextPrintable(history, item);
    return int32_t{"abc"[item.index % 3]};
  };
  Start();
  auto slow = std::async(std::launch::async, [this] {
    v1::GenerateRequest request = AskSeeded(1, 60);
    request.set_regex(kSlowToMatch);
    return Generate(request);
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Generate(AskSeeded(2, 8)).status.ok());
  const Answer answer = slow.get();
  EXPECT_TRUE(answer.status.ok() || ReasonOf(answer.status) == "GRAMMAR_TOO_SLOW")
      << answer.status.error_message();
}

TEST_F(StructureTest, WhatTheVocabularyCannotSayIsADeadEndOfItsOwnRequest) {
  Start();
  v1::GenerateRequest request = AskSeeded(1);
  request.set_ebnf("root ::= root");
  const Answer answer = Generate(request);
  EXPECT_EQ(ReasonOf(answer.status), "GRAMMAR_DEAD_END");
  EXPECT_TRUE(Generate(AskSeeded(2, 8)).status.ok());
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
}

}  // namespace
}  // namespace lfm2
