#include "server/rpc/generate_call.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

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
  void StepTakes(int ms) {
    script_.before_step = [ms](std::span<const StepItem>) {
      std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    };
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
  EXPECT_GE(end.timings().time_to_first_token_ms(), 0);
}

TEST_F(GenerateCallTest, DrawsAnotherSeedForEachCallAndKeepsAGivenOne) {
  Start();
  v1::GenerateRequest request = Ask("x", 1);
  const auto seed = [&] { return Generate(request).events.front().start().sampling().seed(); };
  EXPECT_NE(seed(), seed());
  request.mutable_sampling()->set_seed(0);
  EXPECT_EQ(seed(), 0U);
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

TEST_F(GenerateCallTest, DefaultsToTheRestOfTheContextAtMost256) {
  StepTakes(1);  // the reader must keep up
  Start();
  v1::GenerateRequest request = Ask("x");
  request.clear_max_new_tokens();
  request.set_ignore_eos(true);
  EXPECT_EQ(Generate(request).tokens, 256);
  request.set_text(std::string(4000, 'x'));
  EXPECT_EQ(Generate(request).tokens, 4096 - 4001);
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
  {
    grpc::ClientContext context;
    const auto reader = generation_->Generate(&context, request);
    v1::GenerateResponse event;
    ASSERT_TRUE(reader->Read(&event));
    ASSERT_TRUE(Eventually([&] { return counters_->live_states == 1; }));
    generation_.reset();
    channel_.reset();
    context.TryCancel();
  }
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
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

class SlowReaderTest : public GenerateCallTest {
 protected:
  // Small windows, so that a reader that does not read is felt soon.
  void StartWithSmallWindows() {
    Start();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1024);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    Connect(grpc::InsecureChannelCredentials(), arguments);
  }
  static v1::GenerateRequest Much() {
    v1::GenerateRequest request = Ask("x", 4000);
    request.set_ignore_eos(true);
    request.set_logprobs(20);
    return request;
  }
};

TEST_F(SlowReaderTest, IsEndedWhenItsBufferIsFull) {
  limits_.stream_buffer_events = 16;
  StartWithSmallWindows();
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, Much());
  ASSERT_TRUE(
      Eventually([&] { return counters_->states_made == 1 && counters_->live_states == 0; }));
  EXPECT_LT(counters_->steps, 4000);
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "SLOW_READER") << status.error_message();
}

TEST_F(SlowReaderTest, IsEndedWhenItTakesNothingForTooLong) {
  limits_.stream_buffer_events = 100'000;
  limits_.slow_reader_timeout_ms = 200;
  StepTakes(1);
  StartWithSmallWindows();
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, Much());
  ASSERT_TRUE(
      Eventually([&] { return counters_->states_made == 1 && counters_->live_states == 0; }));
  EXPECT_LT(counters_->steps, 4000);
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("SLOW_READER"), std::string::npos)
      << status.error_message();
}

TEST_F(SlowReaderTest, DoesNotHoldUpAFastOne) {
  limits_.stream_buffer_events = 64;
  StepTakes(1);
  StartWithSmallWindows();
  grpc::ClientContext context;
  const auto slow = generation_->Generate(&context, Much());
  EXPECT_EQ(Generate(Ask("fast", 200)).tokens, 200);
  context.TryCancel();
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
  script_.fail_new_state = []() -> absl::Status { return absl::UnknownError("odd"); };
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

struct BadRequest {
  const char* name;
  std::function<void(v1::GenerateRequest&)> spoil;
  const char* reason;
  std::vector<std::string> fields;
};

TEST_F(GenerateCallTest, NamesEveryFieldThatIsWrong) {
  Start();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  using Request = v1::GenerateRequest;
  const BadRequest cases[] = {
      {"no prompt", [](Request& r) { r.clear_prompt(); }, "PROMPT_EMPTY", {"prompt"}},
      {"no ids", [](Request& r) { r.mutable_tokens(); }, "PROMPT_EMPTY", {"tokens.ids"}},
      {"no messages", [](Request& r) { r.mutable_chat(); }, "PROMPT_EMPTY", {"chat.messages"}},
      {"empty text without BOS",
       [](Request& r) {
         r.set_text("");
         r.set_add_special(false);
       },
       "PROMPT_EMPTY",
       {"text"}},
      {"text over 1 MiB",
       [](Request& r) { r.set_text(std::string((1 << 20) + 1, 'x')); },
       "PROMPT_TOO_LONG",
       {"text"}},
      {"tokens over the context",
       [](Request& r) { r.set_text(std::string(4096, 'x')); },
       "PROMPT_TOO_LONG",
       {"text"}},
      {"prompt and new tokens",
       [](Request& r) { r.set_max_new_tokens(4096 - 1); },
       "CONTEXT_EXCEEDED",
       {"max_new_tokens"}},
      {"max_new_tokens 0",
       [](Request& r) { r.set_max_new_tokens(0); },
       "INVALID_ARGUMENT",
       {"max_new_tokens"}},
      {"max_new_tokens huge",
       [](Request& r) { r.set_max_new_tokens(INT64_MAX); },
       "INVALID_ARGUMENT",
       {"max_new_tokens"}},
      {"id below",
       [](Request& r) { r.mutable_tokens()->add_ids(-1); },
       "INVALID_ARGUMENT",
       {"tokens.ids[0]"}},
      {"id past",
       [](Request& r) { r.mutable_tokens()->add_ids(259); },
       "INVALID_ARGUMENT",
       {"tokens.ids[0]"}},
      {"temperature NaN",
       [=](Request& r) { r.mutable_sampling()->set_temperature(nan); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"temperature negative",
       [](Request& r) { r.mutable_sampling()->set_temperature(-0.1); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"temperature infinite",
       [=](Request& r) { r.mutable_sampling()->set_temperature(infinity); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"temperature 100.1",
       [](Request& r) { r.mutable_sampling()->set_temperature(100.1); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"top_k negative",
       [](Request& r) { r.mutable_sampling()->set_top_k(-1); },
       "INVALID_ARGUMENT",
       {"sampling.top_k"}},
      {"top_k huge",
       [](Request& r) { r.mutable_sampling()->set_top_k(int64_t{1} << 31); },
       "INVALID_ARGUMENT",
       {"sampling.top_k"}},
      {"top_p 0",
       [](Request& r) { r.mutable_sampling()->set_top_p(0); },
       "INVALID_ARGUMENT",
       {"sampling.top_p"}},
      {"top_p over 1",
       [](Request& r) { r.mutable_sampling()->set_top_p(1.01); },
       "INVALID_ARGUMENT",
       {"sampling.top_p"}},
      {"min_p over 1",
       [](Request& r) { r.mutable_sampling()->set_min_p(1.01); },
       "INVALID_ARGUMENT",
       {"sampling.min_p"}},
      {"penalty 0",
       [](Request& r) { r.mutable_sampling()->set_repetition_penalty(0); },
       "INVALID_ARGUMENT",
       {"sampling.repetition_penalty"}},
      {"logprobs 21", [](Request& r) { r.set_logprobs(21); }, "INVALID_ARGUMENT", {"logprobs"}},
      {"logprobs -1", [](Request& r) { r.set_logprobs(-1); }, "INVALID_ARGUMENT", {"logprobs"}},
      {"17 stops",
       [](Request& r) {
         for (int i = 0; i < 17; ++i) r.add_stop("s");
       },
       "INVALID_ARGUMENT",
       {"stop"}},
      {"empty stop", [](Request& r) { r.add_stop(""); }, "INVALID_ARGUMENT", {"stop[0]"}},
      {"stop of 257",
       [](Request& r) { r.add_stop(std::string(257, 's')); },
       "INVALID_ARGUMENT",
       {"stop[0]"}},
      {"65 stop ids",
       [](Request& r) {
         for (int i = 0; i < 65; ++i) r.add_stop_ids(1);
       },
       "INVALID_ARGUMENT",
       {"stop_ids"}},
      {"stop id past",
       [](Request& r) { r.add_stop_ids(259); },
       "INVALID_ARGUMENT",
       {"stop_ids[0]"}},
      {"request id of 129",
       [](Request& r) { r.set_request_id(std::string(129, 'r')); },
       "INVALID_ARGUMENT",
       {"request_id"}},
      {"request id with a newline",
       [](Request& r) { r.set_request_id("a\nb"); },
       "INVALID_ARGUMENT",
       {"request_id"}},
      {"several at once",
       [=](Request& r) {
         r.mutable_sampling()->set_temperature(nan);
         r.mutable_sampling()->set_top_p(2);
         r.add_stop("");
       },
       "INVALID_ARGUMENT",
       {"sampling.temperature", "sampling.top_p", "stop[0]"}},
  };
  for (const BadRequest& bad : cases) {
    v1::GenerateRequest request = Ask("hello", 4);
    bad.spoil(request);
    const grpc::Status status = Generate(request).status;
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << bad.name;
    EXPECT_EQ(ReasonOf(status), bad.reason) << bad.name;
    EXPECT_EQ(FieldsOf(status), bad.fields) << bad.name;
  }
  EXPECT_EQ(counters_->states_made, 0);
}

TEST_F(GenerateCallTest, TakesEveryValueAtItsLimit) {
  Start();
  v1::GenerateRequest request = Ask(std::string(4093, 'x'), 2);
  request.mutable_sampling()->set_temperature(100);
  request.mutable_sampling()->set_top_k(INT32_MAX);
  request.mutable_sampling()->set_min_p(1);
  request.mutable_sampling()->set_repetition_penalty(100);
  request.set_logprobs(20);
  for (int i = 0; i < 16; ++i) request.add_stop(std::string(256, static_cast<char>('A' + i)));
  for (int i = 0; i < 64; ++i) request.add_stop_ids(258);
  request.set_request_id(std::string(128, 'r'));
  const Answer answer = Generate(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens, 2);
}

TEST_F(GenerateCallTest, SaysHowLongThePromptIsAndMayBe) {
  Start();
  const grpc::Status status = Generate(Ask(std::string(4096, 'x'))).status;
  const ErrorDetails details = DetailsOfWire(status);
  EXPECT_EQ(details.metadata.at("tokens"), "4097");
  EXPECT_EQ(details.metadata.at("limit"), "4095");
}

TEST_F(GenerateCallTest, NamesAModelThatIsNotThere) {
  Start();
  v1::GenerateRequest request = Ask("x");
  request.mutable_model()->set_name("absent");
  const grpc::Status status = Generate(request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "MODEL_NOT_FOUND");
  EXPECT_EQ(DetailsOfWire(status).resource_name, "absent");
}

TEST_F(GenerateCallTest, RefusesPathsForModels) {
  Start();
  for (const char* name : {"../fake", "/etc/passwd", "fake/../fake", "..%2ffake", "hf:../x"}) {
    v1::GenerateRequest request = Ask("x");
    request.mutable_model()->set_name(name);
    EXPECT_EQ(ReasonOf(Generate(request).status), "PATH_OUTSIDE_ROOT") << name;
  }
}

TEST_F(GenerateCallTest, RefusesAnUnknownTemplate) {
  Start();
  v1::GenerateRequest request;
  request.mutable_model()->set_name("fake");
  auto* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("hi");
  EXPECT_EQ(ReasonOf(Generate(request).status), "UNKNOWN_TEMPLATE");
}

}  // namespace
}  // namespace lfm2
