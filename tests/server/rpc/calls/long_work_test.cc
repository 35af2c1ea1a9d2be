// What takes as long as its data is large holds up nobody but who asked for it.
#include <gtest/gtest.h>

#include "tests/server/fakes/gate.h"
#include "tests/server/rpc/training_fixture.h"

namespace lfm2 {
namespace {

// Calls that run beside the test and are waited for; a test that fails lets them go.
class Beside {
 public:
  explicit Beside(Gate& gate) : gate_(gate) {}
  ~Beside() {
    gate_.Open();
    Join();
  }
  void Run(std::function<void()> work) { threads_.emplace_back(std::move(work)); }
  void Join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  Gate& gate_;
  std::vector<std::thread> threads_;
};

class LongWorkTest : public TrainingTest {
 protected:
  // As many as the executor of long work runs at once and keeps waiting.
  static constexpr int kRunning = 2, kAll = 4;

  absl::StatusOr<TrainPlan> Plan(const JobSpec& spec, PlanDepth depth,
                                 const StopCheck& stop) override {
    if (on_plan_) return on_plan_(stop);
    return TrainingTest::Plan(spec, depth, stop);
  }
  absl::StatusOr<ParityReport> ProbeSource(const std::vector<int32_t>& tokens,
                                           const StopCheck& stop) override {
    gate_.Pass();
    return TrainingTest::ProbeSource(tokens, stop);
  }
  void PlansWaitAtTheGate() {
    on_plan_ = [this](const StopCheck&) -> absl::StatusOr<TrainPlan> {
      gate_.Pass();
      return TrainPlan();
    };
  }
  v1::StartTrainingRequest Validate() {
    v1::StartTrainingRequest request = Ask();
    request.set_validate_only(true);
    return request;
  }
  v1::ParityRequest AgainstFiles() {
    v1::ParityRequest request;
    request.mutable_model()->set_name("fake");
    request.add_tokens(1);
    auto* file = request.mutable_against()->mutable_files()->add_files();
    file->set_name("model.npz");
    file->set_dataset(Uploaded());
    return request;
  }
  // Calls whose long work stops at the gate: as many as run at once, and as many as wait.
  void TakeAllPlaces(Beside& calls, const std::function<void()>& call) {
    for (int i = 0; i < kAll; ++i) {
      calls.Run(call);
      if (i < kRunning) gate_.WaitForArrivals(i + 1);  // the queue is for those that wait
    }
    EXPECT_TRUE(Eventually([&] { return long_work_->waiting() == kAll - kRunning; }));
  }
  // Of every service, each within a time that only a call which waits for long work would need.
  void ExpectShortCallsToAnswer() {
    const auto soon = [](grpc::ClientContext& context) {
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    };
    grpc::ClientContext generate, tokenize, list, models;
    for (auto* context : {&generate, &tokenize, &list, &models}) soon(*context);
    EXPECT_EQ(Generate(Short("x"), generate).tokens, 16);
    v1::TokenizeRequest text;
    text.mutable_model()->set_name("fake");
    text.set_text("abc");
    v1::TokenizeResponse ids;
    EXPECT_TRUE(generation_->Tokenize(&tokenize, text, &ids).ok());
    v1::ListJobsResponse jobs;
    EXPECT_TRUE(training_->ListJobs(&list, {}, &jobs).ok());
    v1::ListModelsResponse names;
    EXPECT_TRUE(models_stub_->ListModels(&models, {}, &names).ok());
  }
  static v1::GenerateRequest Short(const std::string& text) { return RpcTest::Ask(text, 16); }

  Gate gate_;
  std::function<absl::StatusOr<TrainPlan>(const StopCheck&)> on_plan_;
};

TEST_F(LongWorkTest, OfPlansHoldsUpNoOtherCallAndIsRefusedWhenTooMuchWaits) {
  PlansWaitAtTheGate();
  Start();
  const v1::StartTrainingRequest request = Validate();
  std::atomic<int> planned{0};
  Beside calls(gate_);
  TakeAllPlaces(calls, [&] {
    v1::StartTrainingResponse response;
    if (StartJob(request, &response).ok()) ++planned;
  });
  ExpectShortCallsToAnswer();
  v1::StartTrainingResponse response;
  grpc::ClientContext one_more, another;
  for (auto* context : {&one_more, &another}) {
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  }
  const grpc::Status full = training_->StartTraining(&one_more, request, &response);
  EXPECT_EQ(ReasonOf(full), "QUEUE_FULL") << full.error_message();
  EXPECT_TRUE(DetailsOfWire(full).retry_after_ms.has_value());
  v1::StartTrainingRequest wrong = request;
  wrong.clear_name();
  EXPECT_EQ(ReasonOf(training_->StartTraining(&another, wrong, &response)), "INVALID_ARGUMENT");
  gate_.Open();
  calls.Join();
  EXPECT_EQ(planned, kAll);
}

TEST_F(LongWorkTest, OfProbesHoldsUpNoOtherCall) {
  Start();
  const v1::ParityRequest request = AgainstFiles();
  std::atomic<int> compared{0};
  Beside calls(gate_);
  TakeAllPlaces(calls, [&] {
    if (Parity(request).ok()) ++compared;
  });
  ExpectShortCallsToAnswer();
  gate_.Open();
  calls.Join();
  EXPECT_EQ(compared, kAll);
}

TEST_F(LongWorkTest, EndsWhenItsClientCancelsOrIsLate) {
  std::atomic<int> begun{0};
  std::promise<absl::Status> ended[2];
  on_plan_ = [&](const StopCheck& stop) -> absl::StatusOr<TrainPlan> {
    const int i = begun++;
    absl::Status status;
    (void)Eventually([&] { return !(status = stop()).ok(); });
    ended[i].set_value(status);
    return TrainPlan();
  };
  Start();
  const v1::StartTrainingRequest request = Validate();
  grpc::ClientContext cancelled, late;
  std::thread caller([&] {
    v1::StartTrainingResponse response;
    EXPECT_EQ(training_->StartTraining(&cancelled, request, &response).error_code(),
              grpc::StatusCode::CANCELLED);
  });
  EXPECT_TRUE(Eventually([&] { return begun == 1; }));
  cancelled.TryCancel();
  caller.join();
  EXPECT_EQ(DetailsOf(ended[0].get_future().get()).reason, Reason::kCancelled);
  late.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
  v1::StartTrainingResponse response;
  EXPECT_EQ(training_->StartTraining(&late, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_EQ(begun, 2);
  // Its client cancels at the deadline: whichever the server hears of first.
  EXPECT_FALSE(ended[1].get_future().get().ok());
  EXPECT_TRUE(Eventually([&] { return server_->stats().open_calls == 0; }));
}

TEST_F(LongWorkTest, OfReadingATokenizerHoldsUpNoOtherCall) {
  PublishModel("other");
  Start();
  ASSERT_EQ(Generate(Short("x")).tokens, 16);  // "fake" is loaded
  ASSERT_TRUE(tokenizer_reads_->Run([this] { gate_.Pass(); }).ok());
  gate_.WaitForArrivals(1);
  std::atomic<int> told{0};
  Beside calls(gate_);
  for (int i = 0; i < 4; ++i) {
    calls.Run([&] {
      grpc::ClientContext context;
      v1::GetModelRequest request;
      request.mutable_model()->set_name("other");
      v1::Model model;
      if (models_stub_->GetModel(&context, request, &model).ok()) ++told;
    });
  }
  EXPECT_TRUE(Eventually([&] { return tokenizer_reads_->waiting() == 4; }));
  ExpectShortCallsToAnswer();
  EXPECT_EQ(told, 0);
  gate_.Open();
  calls.Join();
  EXPECT_EQ(told, 4);
}

}  // namespace
}  // namespace lfm2
