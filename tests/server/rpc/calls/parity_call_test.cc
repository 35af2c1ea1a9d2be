#include "server/rpc/calls/parity_call.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/fakes/fake_clock.h"
#include "tests/server/fakes/gate.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

class ParityCallTest : public RpcTest {
 protected:
  absl::StatusOr<ParityReport> ProbeSource(const std::vector<int32_t>& tokens,
                                           const StopCheck& stop) override {
    gate_.Pass();
    return RpcTest::ProbeSource(tokens, stop);
  }
  static v1::ParityRequest Tokens(int count) {
    v1::ParityRequest request;
    request.mutable_model()->set_name("fake");
    request.mutable_tokens()->Resize(count, 1);
    return request;
  }
  v1::ParityRequest AgainstFiles(int count) {
    v1::ParityRequest request = Tokens(count);
    auto* file = request.mutable_against()->mutable_files()->add_files();
    file->set_name("model.npz");
    file->set_dataset(datasets_->Begin("model.npz").value()->Commit("")->id);
    return request;
  }
  Gate gate_;
};

// Each turn is a chunk, and a sequence that decodes has its step after each of them.
TEST_F(ParityCallTest, LetsOthersDecodeAfterEachOfItsChunks) {
  std::vector<int64_t> steps, tokens;  // the engine's thread alone writes them
  script_.before_probe = [&](std::span<const int32_t> chunk) {
    steps.push_back(counters_->steps);
    tokens.push_back(static_cast<int64_t>(chunk.size()));
  };
  StepTakes(1);
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest endless = Ask("x", 4000);
  endless.set_ignore_eos(true);
  const auto reader = generation_->Generate(&context, endless);
  ASSERT_TRUE(Eventually([&] { return counters_->steps > 2; }));
  const grpc::Status status = Parity(Tokens(1000));
  EXPECT_TRUE(status.ok()) << status.error_message();
  context.TryCancel();
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  (void)reader->Finish();
  ASSERT_EQ(steps.size(), 16U);
  EXPECT_EQ(std::accumulate(tokens.begin(), tokens.end(), int64_t{0}), 1000);
  for (size_t i = 0; i < steps.size(); ++i) {
    EXPECT_LE(tokens[i], 64) << i;
    EXPECT_GT(steps[i], i == 0 ? 0 : steps[i - 1]) << i;
  }
}

TEST_F(ParityCallTest, EndsBetweenTwoChunksWhenItsClientGoes) {
  script_.before_probe = [this](std::span<const int32_t>) { gate_.Pass(); };
  Start();
  {
    grpc::ClientContext context;
    const auto reader = models_stub_->Parity(&context, Tokens(1000));
    gate_.WaitForArrivals(1);
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  ASSERT_TRUE(Eventually([&] { return server_->stats().open_calls == 0; }));
  gate_.Open();
  ASSERT_TRUE(Eventually([&] { return counters_->live_states == 0; }));
  EXPECT_EQ(gate_.arrived(), 1);
}

TEST_F(ParityCallTest, ReportsOfAllCallsHaveOneBudget) {
  // Two reports of 100 tokens with 4 values of one probe and 4 logits each.
  limits_.parity_bytes = 2 * 2 * 100 * 4 * 4;
  Start();
  std::thread first([request = AgainstFiles(100), this] {
    const grpc::Status status = Parity(request);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  gate_.WaitForArrivals(1);  // it holds its own report, and room for the other one
  const grpc::Status full = Parity(Tokens(100));
  EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(full), "OUT_OF_MEMORY") << full.error_message();
  EXPECT_TRUE(DetailsOfWire(full).retry_after_ms.has_value());
  gate_.Open();
  first.join();
  ASSERT_TRUE(Eventually([&] { return server_->stats().open_calls == 0; }));
  v1::ParityRequest all = Tokens(100);
  all.set_values(true);
  all.set_all_logits(true);
  EXPECT_TRUE(Parity(all).ok());
  // Without values and with the last logits alone far more tokens fit.
  EXPECT_TRUE(Parity(Tokens(4096)).ok());
  all = Tokens(201);
  all.set_values(true);
  all.set_all_logits(true);
  const grpc::Status never = Parity(all);
  EXPECT_EQ(ReasonOf(never), "OUT_OF_MEMORY") << never.error_message();
  EXPECT_FALSE(DetailsOfWire(never).retry_after_ms.has_value());
}

TEST_F(ParityCallTest, HasADeadlineWhereTheClientNamesNone) {
  FakeClock clock;
  clock_ = &clock;
  limits_.generate_timeout_ms = 5'000;
  limits_.slow_reader_timeout_ms = 3'600'000;
  StartWithSmallWindows();
  v1::ParityRequest request = Tokens(4096);
  request.set_values(true);
  request.set_all_logits(true);
  grpc::ClientContext context;
  const auto reader = models_stub_->Parity(&context, request);
  ASSERT_TRUE(
      Eventually([&] { return counters_->states_made > 0 && counters_->live_states == 0; }));
  clock.Advance(std::chrono::milliseconds(5'000));
  v1::ParityResponse event;
  int events = 0;
  while (reader->Read(&event)) ++events;
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_EQ(ReasonOf(status), "DEADLINE_IN_DECODE");
  EXPECT_LT(events, 4098);
  clock_ = &Clock::Real();
  server_->Shutdown(std::chrono::milliseconds(0));
  server_.reset();
  engine_.reset();
}

}  // namespace
}  // namespace lfm2
