#include "server/rpc/transport/event_stream.h"

#include <gtest/gtest.h>

#include "server/engine/metrics.h"
#include "tests/server/fakes/series.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

class SlowReaderTest : public RpcTest {
 protected:
  static v1::GenerateRequest Much() {
    v1::GenerateRequest request = Ask("x", 4000);
    request.set_ignore_eos(true);
    request.set_logprobs(20);
    return request;
  }
  // One request failed, and the metrics name the reason.
  void ExpectCountedAsSlow() {
    const auto text = [this] { return engine_->metrics().Text({}); };
    EXPECT_TRUE(Eventually([&] { return SumOf(text(), "lfm2_requests_failed_total") == 1; }));
    EXPECT_EQ(ValueOf(text(), "lfm2_requests_failed_total{reason=\"SLOW_READER\"}"), "1");
  }
};

// A model that is faster than its reader waits for it.
TEST_F(SlowReaderTest, LosesNothingAsLongAsItReads) {
  limits_.stream_buffer_events = 4;
  StartWithSmallWindows();
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, Much());
  v1::GenerateResponse event;
  int tokens = 0;
  while (reader->Read(&event)) tokens += event.has_token() ? 1 : 0;
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens, 4000);
}

TEST_F(SlowReaderTest, IsEndedWhenItsBufferStaysFull) {
  limits_.stream_buffer_events = 16;
  limits_.full_buffer_timeout_ms = 200;
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
  ExpectCountedAsSlow();
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
  ExpectCountedAsSlow();
}

TEST_F(SlowReaderTest, SixtyFourDoNotHoldUpSixtyFourFastOnes) {
  limits_.stream_buffer_events = 64;
  limits_.full_buffer_timeout_ms = 500;
  limits_.running_sequences = 128;
  limits_.streams_per_connection = 200;
  StepTakes(1);
  StartWithSmallWindows();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>>> slow;
  for (int i = 0; i < 64; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    slow.push_back(generation_->Generate(contexts.back().get(), Much()));
  }
  std::vector<std::thread> callers;
  std::atomic<int> whole{0};
  for (int i = 0; i < 64; ++i) {
    callers.emplace_back([&] {
      v1::GenerateRequest request = Ask("fast", 100);
      request.set_ignore_eos(true);
      const Answer answer = Generate(request);
      if (answer.status.ok() && answer.tokens == 100) ++whole;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(whole, 64);
  // Every slow one is ended by rule: none holds a place for ever.
  EXPECT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
  int refused = 0;
  for (const auto& reader : slow) {
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
    }
    refused += ReasonOf(reader->Finish()) == "SLOW_READER" ? 1 : 0;
  }
  EXPECT_EQ(refused, 64);
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

}  // namespace
}  // namespace lfm2
