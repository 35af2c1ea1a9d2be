#include "server/rpc/calls/generate_call.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/server/rpc/raw_connection.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

class GenerateCallTest : public RpcTest {
 protected:
  // What the fake model must say to this prompt.
  static std::string Expected(const std::string& prompt, uint64_t seed, int64_t tokens) {
    std::vector<int32_t> seen = {257};
    for (const char c : prompt) seen.push_back(static_cast<unsigned char>(c));
    SamplingParams sampling;
    sampling.seed = seed;
    StepItem item;
    item.sampling = &sampling;
    std::string text;
    for (int64_t i = 0; i < tokens; ++i) {
      seen.push_back(NextPrintable(seen, item));
      text += static_cast<char>(seen.back());
    }
    return text;
  }
};

TEST_F(GenerateCallTest, StreamsStartThenEachTokenThenEnd) {
  script_ = Saying("hello");
  Start();
  const Answer answer = Generate(Ask("x", 10));
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, "hello");
  ASSERT_EQ(answer.events.size(), 8U);  // start, 5 letters, eos, end
  const v1::GenerateStart& start = answer.events.front().start();
  EXPECT_EQ(start.model(), "fake");
  EXPECT_EQ(start.version(), "v1");
  EXPECT_EQ(start.prompt_tokens(), 2);  // BOS and a letter
  EXPECT_EQ(start.max_new_tokens(), 10);
  EXPECT_TRUE(start.sampling().has_seed());
  EXPECT_EQ(start.sampling().temperature(), 0);
  EXPECT_EQ(start.sampling().top_p(), 1);
  const v1::GenerateEnd& end = answer.events.back().end();
  EXPECT_EQ(end.finish_reason(), v1::FINISH_REASON_EOS);
  EXPECT_EQ(end.usage().prompt_tokens(), 2);
  EXPECT_EQ(end.usage().completion_tokens(), 6);
  EXPECT_EQ(end.usage().cached_tokens(), 0);
  EXPECT_EQ(end.usage().prefix_miss(), v1::PREFIX_MISS_UNSUPPORTED);
  EXPECT_GE(end.timings().time_to_first_token_ms(), 0);
}

TEST_F(GenerateCallTest, SaysWhatThePrefixCacheGave) {
  script_.reuse = [](const StateRequest& request) {
    EXPECT_EQ(request.tenant, "");
    return PrefixReuse{static_cast<int64_t>(request.prompt.size()) - 1, 3, PrefixMiss::kEvicted};
  };
  Start();
  v1::GenerateRequest request = Ask("a longer prompt", 2);
  const v1::Usage usage = Generate(request).events.back().end().usage();
  EXPECT_EQ(usage.prompt_tokens(), 16);
  EXPECT_EQ(usage.cached_tokens(), 15);
  EXPECT_EQ(usage.replayed_tokens(), 3);
  EXPECT_EQ(usage.prefix_miss(), v1::PREFIX_MISS_EVICTED);
  request.set_use_prefix_cache(false);
  EXPECT_EQ(Generate(request).events.back().end().usage().prefix_miss(), v1::PREFIX_MISS_DISABLED);
}

TEST_F(GenerateCallTest, SaysHowManyTokensWereGuessedAndHowManyRightly) {
  script_.verifies_drafts = true;
  script_.next = [](std::span<const int32_t> history, const StepItem&) {
    return 'a' + (history.back() - 'a' + 1) % 5;
  };
  Start();
  const v1::Usage usage = Generate(Ask("abcdeabcde", 40)).events.back().end().usage();
  EXPECT_EQ(usage.completion_tokens(), 40);
  EXPECT_GT(usage.accepted_tokens(), 20);
  EXPECT_GE(usage.drafted_tokens(), usage.accepted_tokens());
  v1::GenerateRequest sampled = Ask("abcdeabcde", 40);
  sampled.mutable_sampling()->set_temperature(1);
  const v1::Usage none = Generate(sampled).events.back().end().usage();
  EXPECT_TRUE(none.has_drafted_tokens());
  EXPECT_EQ(none.drafted_tokens(), 0);
  EXPECT_EQ(none.accepted_tokens(), 0);
}

TEST_F(GenerateCallTest, RefusesAPriorityThatIsNone) {
  Start();
  v1::GenerateRequest request = Ask("x", 2);
  request.set_priority(v1::PRIORITY_HIGH);
  EXPECT_TRUE(Generate(request).status.ok());
  request.set_priority(static_cast<v1::Priority>(7));
  EXPECT_EQ(FieldsOf(Generate(request).status), std::vector<std::string>{"priority"});
}

TEST_F(GenerateCallTest, GivesLogprobsAsManyAsAsked) {
  Start();
  v1::GenerateRequest request = Ask("x", 2);
  request.set_logprobs(3);
  const Answer answer = Generate(request);
  ASSERT_GE(answer.events.size(), 2U);
  EXPECT_FLOAT_EQ(answer.events[1].token().logprob(), -0.5F);
  EXPECT_EQ(answer.events[1].token().top_size(), 3);
}

TEST_F(GenerateCallTest, ServesTheNewestModelWhenNoneIsNamed) {
  Start();
  v1::GenerateRequest request = Ask("x", 1);
  request.clear_model();
  EXPECT_EQ(Generate(request).events.front().start().model(), "fake");
}

TEST_F(GenerateCallTest, AnswersManyCallersAtOnceEachWithItsOwnText) {
  Start();
  std::vector<std::thread> callers;
  callers.reserve(32);
  std::atomic<int> right{0};
  for (int i = 0; i < 32; ++i) {
    callers.emplace_back([&, i] {
      const std::string prompt = "caller " + std::to_string(i);
      v1::GenerateRequest request = Ask(prompt, 40);
      request.mutable_sampling()->set_seed(static_cast<uint64_t>(i));
      const Answer answer = Generate(request);
      if (answer.status.ok() && answer.text == Expected(prompt, static_cast<uint64_t>(i), 40)) {
        ++right;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(right, 32);
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
  EXPECT_GT(counters_->most_step_items, 1);
}

TEST_F(GenerateCallTest, FreesTheSequenceWithinAStepWhenTheClientCancels) {
  StepTakes(3);
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, request);
  v1::GenerateResponse event;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(counters_->live_states, 1);
  context.TryCancel();
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(500));
  EXPECT_LT(counters_->steps, 1000);
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(GenerateCallTest, FreesTheSequenceWhenTheClientDisconnects) {
  StepTakes(3);
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  RawConnection connection(server_->address());
  const auto stub = v1::Generation::NewStub(connection.Channel());
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  ASSERT_TRUE(Eventually([&] { return counters_->live_states == 1; }));
  connection.Cut();
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
  EXPECT_LT(counters_->steps, 1000);
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GenerateCallTest, ForgetsAWaitingRequestWhoseClientCancels) {
  limits_.running_sequences = 1;
  StepTakes(3);
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  grpc::ClientContext first, second;
  const auto running = generation_->Generate(&first, request);
  ASSERT_TRUE(Eventually([&] { return counters_->live_states == 1; }));
  const auto waiting = generation_->Generate(&second, request);
  ASSERT_TRUE(Eventually([&] { return engine_->stats().waiting == 1; }));
  second.TryCancel();
  EXPECT_TRUE(Eventually([&] { return engine_->stats().waiting == 0; }));
  EXPECT_EQ(engine_->stats().running, 1);
  EXPECT_EQ(counters_->states_made, 1);
  (void)waiting->Finish();
  first.TryCancel();
}

TEST_F(GenerateCallTest, EndsAtTheClientsDeadline) {
  StepTakes(3);
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(150));
  const Answer answer = Generate(request, context);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
}

TEST_F(GenerateCallTest, EndsAtTheServersOwnDeadlineWithTheReason) {
  StepTakes(3);
  limits_.generate_timeout_ms = 100;
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  const Answer answer = Generate(request);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(ReasonOf(answer.status), "DEADLINE_IN_DECODE");
  EXPECT_GT(answer.tokens, 0);
}

TEST_F(GenerateCallTest, CapsTheClientsDeadlineAtTheServersMaximum) {
  StepTakes(3);
  limits_.generate_timeout_max_ms = 100;
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::hours(24 * 365 * 100));
  EXPECT_EQ(ReasonOf(Generate(request, context).status), "DEADLINE_IN_DECODE");
}

TEST_F(GenerateCallTest, RefusesWithARetryDelayWhenTheQueueIsFull) {
  limits_.waiting_requests = 1;
  limits_.running_sequences = 1;
  StepTakes(5);
  Start();
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> readers;
  grpc::Status refused;
  for (int i = 0; i < 8 && refused.ok(); ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(generation_->Generate(contexts.back().get(), request));
    v1::GenerateResponse event;
    if (!readers.back()->Read(&event)) refused = readers.back()->Finish();
  }
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused), "QUEUE_FULL");
  const auto& trailing = contexts.back()->GetServerTrailingMetadata();
  EXPECT_EQ(trailing.count("grpc-retry-pushback-ms"), 1U);
  EXPECT_TRUE(DetailsOfWire(refused).retry_after_ms.has_value());
  for (const auto& context : contexts) context->TryCancel();
}

TEST_F(GenerateCallTest, SurvivesAStormOfCancels) {
  StepTakes(3);
  Start();
  std::atomic<int> strange{0};
  std::vector<std::thread> callers;
  callers.reserve(8);
  for (int t = 0; t < 8; ++t) {
    callers.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < 25; ++i) {
        grpc::ClientContext context;
        std::thread canceller([&context, wait = random() % 40] {
          std::this_thread::sleep_for(std::chrono::milliseconds(wait));
          context.TryCancel();
        });
        const grpc::Status status = Generate(Ask("storm", 8), context).status;
        canceller.join();
        if (!status.ok() && status.error_code() != grpc::StatusCode::CANCELLED) ++strange;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(strange, 0);
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
  EXPECT_TRUE(Eventually([&] { return engine_->stats().running == 0; }));
}

TEST_F(GenerateCallTest, TurnsAnExceptionIntoInternalWithTheRequestId) {
  script_.fail_new_state = []() -> absl::Status { throw std::runtime_error("odd"); };
  Start();
  v1::GenerateRequest request = Ask("x");
  request.set_request_id("my-id");
  grpc::ClientContext context;
  const Answer answer = Generate(request, context);
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(DetailsOfWire(answer.status).metadata["request_id"], "my-id");
  const auto& initial = context.GetServerInitialMetadata();
  ASSERT_EQ(initial.count("x-request-id"), 1U);
  const auto id = initial.find("x-request-id")->second;
  EXPECT_EQ(std::string(id.data(), id.size()), "my-id");
}

}  // namespace
}  // namespace lfm2
