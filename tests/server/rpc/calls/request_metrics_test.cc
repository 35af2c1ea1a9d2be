// What the metrics say of calls, seen through the wire.
#include <gtest/gtest.h>

#include "server/engine/metrics.h"
#include "tests/server/fakes/gate.h"
#include "tests/server/fakes/series.h"
#include "tests/server/rpc/server_fixture.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

class RequestMetricsTest : public ServerTest {
 protected:
  std::string Metric(const std::string& series) {
    return ValueOf(engine_->metrics().Text({}), series);
  }
  std::string Failed(const std::string& reason) {
    return Metric("lfm2_requests_failed_total{reason=\"" + reason + "\"}");
  }
  std::string Rejected(const std::string& reason) {
    return Metric("lfm2_requests_rejected_total{reason=\"" + reason + "\"}");
  }
  std::string Duration(const std::string& operation) {
    return Metric("gen_ai_server_request_duration_seconds_count{gen_ai_operation_name=\"" +
                  operation + "\"}");
  }
  double AllFailed() { return SumOf(engine_->metrics().Text({}), "lfm2_requests_failed_total"); }
  double AllRejected() {
    return SumOf(engine_->metrics().Text({}), "lfm2_requests_rejected_total");
  }
  // The call failed with `reason`, which is counted as one more reject and nothing else.
  void ExpectOneReject(const grpc::Status& status, const std::string& reason) {
    EXPECT_EQ(ReasonOf(status), reason) << status.error_message();
    EXPECT_EQ(AllRejected(), ++rejects_) << reason;
    EXPECT_NE(Rejected(reason), "0");
    EXPECT_EQ(AllFailed(), 0);
  }
  grpc::Status Score(const std::vector<int32_t>& ids, grpc::ClientContext& context) {
    v1::ScoreRequest request;
    request.mutable_model()->set_name("fake");
    for (const int32_t id : ids) request.mutable_tokens()->add_ids(id);
    v1::ScoreResponse response;
    return generation_->Score(&context, request, &response);
  }
  grpc::Status Score(const std::vector<int32_t>& ids) {
    grpc::ClientContext context;
    return Score(ids, context);
  }
  grpc::Status Parity(const std::vector<int32_t>& ids) {
    v1::ParityRequest request;
    request.mutable_model()->set_name("fake");
    request.mutable_tokens()->Assign(ids.begin(), ids.end());
    return RpcTest::Parity(request);
  }
  static v1::GenerateRequest Endless() {
    v1::GenerateRequest request = Ask("x", 4000);
    request.set_ignore_eos(true);
    return request;
  }
  static void SetDeadline(grpc::ClientContext& context, int ms) {
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(ms));
  }

  double rejects_ = 0;
};

TEST_F(RequestMetricsTest, CountsADeadlineInDecodeAsOne) {
  StepTakes(3);
  Start();
  grpc::ClientContext context;
  SetDeadline(context, 400);
  EXPECT_EQ(Generate(Endless(), context).status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return AllFailed() == 1; }));
  EXPECT_EQ(Failed("DEADLINE_IN_DECODE"), "1");
  EXPECT_EQ(AllRejected(), 0);
}

TEST_F(RequestMetricsTest, CountsADeadlineInTheQueueAsOne) {
  limits_.running_sequences = 1;
  Gate gate;
  script_ = Gated(gate);
  Start();
  std::thread first([&] { EXPECT_TRUE(Generate(Ask("x", 2)).status.ok()); });
  gate.WaitForArrivals(1);
  grpc::ClientContext generate, score;
  // Its deadline here comes after the client's, and has passed when the second one's has.
  SetDeadline(score, 300);
  EXPECT_EQ(Score({1, 2, 3}, score).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  SetDeadline(generate, 300);
  EXPECT_EQ(Generate(Ask("y", 2), generate).status.error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return server_->stats().open_streams == 1; }));
  gate.Open();
  first.join();
  EXPECT_TRUE(Eventually([&] { return AllFailed() == 2; }));
  EXPECT_EQ(Failed("DEADLINE_IN_QUEUE"), "2");
}

TEST_F(RequestMetricsTest, CountsACancelAsOne) {
  StepTakes(3);
  Start();
  grpc::ClientContext context;
  SetDeadline(context, 60'000);
  const auto reader = generation_->Generate(&context, Endless());
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_TRUE(Eventually([&] { return AllFailed() == 1; }));
  EXPECT_EQ(Failed("CANCELLED"), "1");
  while (reader->Read(&event)) {
  }
  (void)reader->Finish();
}

TEST_F(RequestMetricsTest, CountsEachRefusedCallOnceWithItsReason) {
  Start();
  v1::GenerateRequest wrong = Ask("x", 2);
  wrong.mutable_sampling()->set_temperature(-1);
  ExpectOneReject(Generate(wrong).status, "INVALID_ARGUMENT");
  v1::GenerateRequest unknown = Ask("x", 2);
  unknown.mutable_model()->set_name("nobody");
  ExpectOneReject(Generate(unknown).status, "MODEL_NOT_FOUND");
  ExpectOneReject(Generate(Ask(std::string(5000, 'x'), 2)).status, "PROMPT_TOO_LONG");
  ExpectOneReject(Score({1}), "INVALID_ARGUMENT");
  ExpectOneReject(Parity({-1}), "INVALID_ARGUMENT");
  ExpectOneReject(Call("/lfm2.v1.Generation/Tokenize", "", "\xff\xff"), "INVALID_ARGUMENT");
  v1::GenerateRequest grammar = Ask("x", 2);
  grammar.set_regex("(");
  const grpc::Status refused = Generate(grammar).status;  // UNSUPPORTED without the library
  ExpectOneReject(refused, ReasonOf(refused));
  server_->BeginDrain();
  ExpectOneReject(Generate(Ask("x", 2)).status, "DRAINING");
  EXPECT_EQ(Metric("lfm2_requests_completed_total"), "0");
}

TEST_F(RequestMetricsTest, CountsWhatAFullExecutorOrAFullDoorRefuses) {
  limits_.open_calls = 1;
  StepTakes(1);
  Start();
  std::promise<void> go;
  const std::shared_future<void> gate = go.get_future().share();
  std::atomic<int> busy{0};
  const auto wait = [&busy, gate] {
    ++busy;
    gate.wait();
  };
  for (int thread = 0; thread < 4; ++thread) ASSERT_TRUE(executor_->Run(wait).ok());
  ASSERT_TRUE(Eventually([&] { return busy == 4; }));
  while (executor_->Run([] {}).ok()) {
  }
  ExpectOneReject(Generate(Ask("x", 2)).status, "QUEUE_FULL");
  go.set_value();
  std::atomic<bool> drained{false};
  EXPECT_TRUE(Eventually([&] { return executor_->Run([&] { drained = true; }).ok(); }));
  EXPECT_TRUE(Eventually([&] { return drained && server_->stats().open_calls == 0; }));
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, Endless());
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  ExpectOneReject(Generate(Ask("x", 2)).status, "QUEUE_FULL");
  EXPECT_EQ(Rejected("QUEUE_FULL"), "2");
  context.TryCancel();
}

TEST_F(RequestMetricsTest, CountsWhomTheDoorDoesNotKnow) {
  WriteTokens(Line("g", "gina", "generate") + Line("t", "tom", "train"));
  Start();
  ExpectOneReject(Call("/lfm2.v1.Generation/Generate", ""), "CREDENTIAL_MISSING");
  ExpectOneReject(Call("/lfm2.v1.Generation/Score", "wrong"), "CREDENTIAL_INVALID");
  ExpectOneReject(Call("/lfm2.v1.Generation/Generate", "t"), "SCOPE_REQUIRED");
  (void)Call("/lfm2.v1.Training/ListJobs", "");
  EXPECT_EQ(AllRejected(), 3);  // of Generation only
}

TEST_F(RequestMetricsTest, CountsARequestThatFailsInTheEngineAsNoReject) {
  script_.fail_item = [](const StepItem&) { return Error(Reason::kOutOfMemory, "no room"); };
  Start();
  EXPECT_EQ(ReasonOf(Generate(Ask("x", 2)).status), "OUT_OF_MEMORY");
  EXPECT_EQ(Failed("OUT_OF_MEMORY"), "1");
  EXPECT_EQ(AllRejected(), 0);
}

TEST_F(RequestMetricsTest, CountsScoreAndParityByOperation) {
  Start();
  EXPECT_TRUE(Generate(Ask("x", 2)).status.ok());
  EXPECT_TRUE(Score({1, 2, 3}).ok());
  EXPECT_TRUE(Parity({1, 2}).ok());
  EXPECT_EQ(Duration("text_completion"), "1");
  EXPECT_EQ(Duration("score"), "1");
  EXPECT_EQ(Duration("parity"), "1");
  EXPECT_EQ(Metric("lfm2_requests_completed_total"), "3");
  EXPECT_EQ(Metric("gen_ai_client_token_usage_total{gen_ai_operation_name=\"score\","
                   "gen_ai_token_type=\"input\"}"),
            "3");
  EXPECT_EQ(AllFailed() + AllRejected(), 0);
}

}  // namespace
}  // namespace lfm2
