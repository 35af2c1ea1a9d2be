#include "server/engine/sequence.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "tests/server/engine/request.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

GenerateRequest Hello(int64_t max_new_tokens) {
  return Request(MakeFakeModel(), "hello", max_new_tokens);
}

struct Generated {
  std::vector<TokenEvent> events;
  GenerateEnd end;
  std::string text() const {
    std::string all;
    for (const TokenEvent& event : events) all += event.text;
    return all + end.text;
  }
};

// Feeds the ids until the sequence says that it is finished.
Generated Feed(GenerateRequest request, const std::vector<int32_t>& ids) {
  Sequence sequence(std::move(request), std::make_shared<RecordingSink>(), SteadyTime());
  EXPECT_TRUE(sequence.Start(SteadyTime()).ok());
  Generated generated;
  for (const int32_t id : ids) {
    if (sequence.finished()) break;
    Sample sample;
    sample.id = id;
    generated.events.push_back(sequence.Accept(sample, SteadyTime()));
  }
  generated.end = sequence.End(absl::OkStatus(), SteadyTime());
  return generated;
}

TEST(Sequence, HandsThePromptOutInChunksAndSamplesAfterTheLast) {
  GenerateRequest request = Hello(4);
  Sequence sequence(std::move(request), std::make_shared<RecordingSink>(), SteadyTime());
  ASSERT_TRUE(sequence.Start(SteadyTime()).ok());
  EXPECT_EQ(sequence.pending(), 5);
  StepItem item = sequence.NextItem(3);
  EXPECT_EQ(std::vector<int32_t>(item.tokens.begin(), item.tokens.end()), BytesAsTokens("hel"));
  EXPECT_FALSE(item.sample);
  sequence.Advance(3);
  item = sequence.NextItem(2);
  EXPECT_EQ(std::vector<int32_t>(item.tokens.begin(), item.tokens.end()), BytesAsTokens("lo"));
  EXPECT_TRUE(item.sample);
  EXPECT_EQ(item.history.size(), 5U);
  EXPECT_EQ(item.index, 0);
  EXPECT_FALSE(sequence.decoding());
  Sample sample;
  sample.id = 'x';
  sequence.Accept(sample, SteadyTime());
  EXPECT_TRUE(sequence.decoding());
  EXPECT_EQ(sequence.pending(), 1);
  item = sequence.NextItem(1);
  EXPECT_EQ(item.tokens[0], 'x');
  EXPECT_EQ(item.history.size(), 6U);
  EXPECT_EQ(item.index, 1);
}

TEST(Sequence, EndsAtItsLength) {
  const Generated generated = Feed(Hello(3), BytesAsTokens("abcdef"));
  EXPECT_EQ(generated.text(), "abc");
  EXPECT_EQ(generated.end.finish_reason, FinishReason::kLength);
  EXPECT_EQ(generated.end.completion_tokens, 3);
  EXPECT_EQ(generated.end.prompt_tokens, 5);
}

TEST(Sequence, CountsAndReportsTheEosTokenWithoutText) {
  const Generated generated = Feed(Hello(9), {'a', 258, 'b'});
  ASSERT_EQ(generated.events.size(), 2U);
  EXPECT_EQ(generated.events[1].id, 258);
  EXPECT_EQ(generated.events[1].text, "");
  EXPECT_EQ(generated.end.completion_tokens, 2);
  EXPECT_EQ(generated.end.finish_reason, FinishReason::kEos);
  EXPECT_EQ(generated.text(), "a");
}

TEST(Sequence, EndsAtEveryEosOfTheConfigAndOfTheTokenizer) {
  for (const int32_t eos : {7, 9, 11, 258}) {
    GenerateRequest request = Hello(9);
    request.model->config.eos_token_id = 7;
    request.model->config.eos_token_ids = {9, 11};
    EXPECT_EQ(Feed(std::move(request), {'a', eos, 'b'}).end.finish_reason, FinishReason::kEos)
        << eos;
  }
}

TEST(Sequence, GoesOnAfterEosWhenAskedTo) {
  GenerateRequest request = Hello(3);
  request.ignore_eos = true;
  const Generated generated = Feed(std::move(request), {'a', 258, 'b', 'c'});
  EXPECT_EQ(generated.end.finish_reason, FinishReason::kLength);
  EXPECT_EQ(generated.text(), "ab");
}

TEST(Sequence, EndsAtAStopIdWithoutItsText) {
  GenerateRequest request = Hello(9);
  request.stop_ids = {'x', 'y'};
  const Generated generated = Feed(std::move(request), BytesAsTokens("abyz"));
  EXPECT_EQ(generated.text(), "ab");
  EXPECT_EQ(generated.end.finish_reason, FinishReason::kStop);
  EXPECT_EQ(generated.end.stop, "");
  EXPECT_EQ(generated.end.completion_tokens, 3);
}

TEST(Sequence, HoldsBackAcrossTokensAndCutsBeforeTheStopString) {
  GenerateRequest request = Hello(20);
  request.stop = {"STOP"};
  const Generated generated = Feed(std::move(request), BytesAsTokens("aSTxSTOPmore"));
  EXPECT_EQ(generated.text(), "aSTx");
  EXPECT_EQ(generated.end.stop, "STOP");
  EXPECT_EQ(generated.end.finish_reason, FinishReason::kStop);
  EXPECT_EQ(generated.end.completion_tokens, 8);
  EXPECT_EQ(generated.events[1].text, "");
  EXPECT_EQ(generated.events[3].text, "STx");
}

TEST(Sequence, GivesHeldBackTextAtTheEndWhenTheStopStringNeverCame) {
  for (const bool by_eos : {true, false}) {
    GenerateRequest request = Hello(by_eos ? 9 : 3);
    request.stop = {"STOP"};
    const Generated generated = Feed(std::move(request), {'a', 'S', 'T', 258});
    EXPECT_EQ(generated.end.text, "ST");
    EXPECT_EQ(generated.text(), "aST");
    EXPECT_EQ(generated.end.finish_reason, by_eos ? FinishReason::kEos : FinishReason::kLength);
  }
}

TEST(Sequence, NeverSplitsACharacter) {
  const Generated generated = Feed(Hello(5), BytesAsTokens("a\xe2\x82\xac!"));
  EXPECT_EQ(generated.events[1].text, "");
  EXPECT_EQ(generated.events[2].text, "");
  EXPECT_EQ(generated.events[3].text, "\xe2\x82\xac");
  EXPECT_EQ(generated.text(), "a\xe2\x82\xac!");
}

TEST(Sequence, EndsHalfACharacterAsTheReplacementCharacter) {
  EXPECT_EQ(Feed(Hello(2), BytesAsTokens("a\xe2\x82")).text(), "a\xef\xbf\xbd");
}

TEST(Sequence, FindsAStopStringInTheReplacementCharacterOfTheEnd) {
  GenerateRequest request = Hello(2);
  request.stop = {"a\xef\xbf\xbd"};
  const Generated generated = Feed(std::move(request), BytesAsTokens("a\xe2"));
  EXPECT_EQ(generated.text(), "");
  EXPECT_EQ(generated.end.finish_reason, FinishReason::kStop);
}

TEST(Sequence, IsFinishedAtOnceWhenNoTokenIsWanted) {
  Sequence sequence(Hello(0), std::make_shared<RecordingSink>(), SteadyTime());
  EXPECT_TRUE(sequence.finished());
}

TEST(Sequence, GivesLogprobsOnlyWhenAskedTo) {
  Sample sample;
  sample.id = 'a';
  sample.logprob = -2.0F;
  sample.top = {{'a', -2.0F}};
  for (const int64_t logprobs : {-1, 0, 1}) {
    GenerateRequest request = Hello(2);
    request.sampling.logprobs = logprobs;
    Sequence sequence(std::move(request), std::make_shared<RecordingSink>(), SteadyTime());
    ASSERT_TRUE(sequence.Start(SteadyTime()).ok());
    EXPECT_EQ(sequence.Accept(sample, SteadyTime()).logprob.has_value(), logprobs >= 0);
  }
}

TEST(Sequence, TellsADeadlineInTheQueueFromOneInDecode) {
  GenerateRequest request = Hello(5);
  request.deadline = SteadyTime(milliseconds(100));
  Sequence sequence(std::move(request), std::make_shared<RecordingSink>(), SteadyTime());
  EXPECT_TRUE(sequence.Check(SteadyTime(milliseconds(99))).ok());
  EXPECT_EQ(DetailsOf(sequence.Check(SteadyTime(milliseconds(100)))).reason,
            Reason::kDeadlineInQueue);
  ASSERT_TRUE(sequence.Start(SteadyTime()).ok());
  sequence.Accept({'a', 0, {}}, SteadyTime());
  sequence.Accept({'b', 0, {}}, SteadyTime());
  const ErrorDetails details = DetailsOf(sequence.Check(SteadyTime(milliseconds(100))));
  EXPECT_EQ(details.reason, Reason::kDeadlineInDecode);
  EXPECT_EQ(details.metadata.at("tokens"), "2");
}

TEST(Sequence, MeasuresQueuePrefillAndDecode) {
  Sequence sequence(Hello(5), std::make_shared<RecordingSink>(), SteadyTime(milliseconds(10)));
  ASSERT_TRUE(sequence.Start(SteadyTime(milliseconds(15))).ok());
  sequence.Accept({'a', 0, {}}, SteadyTime(milliseconds(40)));
  const GenerateEnd end = sequence.End(absl::OkStatus(), SteadyTime(milliseconds(100)));
  EXPECT_EQ(end.queue_ms, 5);
  EXPECT_EQ(end.prefill_ms, 25);
  EXPECT_EQ(end.decode_ms, 60);
  EXPECT_EQ(end.time_to_first_token_ms, 30);
}

}  // namespace
}  // namespace lfm2
