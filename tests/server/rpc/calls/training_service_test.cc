#include <gtest/gtest.h>

#include <limits>

#include "tests/server/rpc/training_fixture.h"

namespace lfm2 {
namespace {

using TrainingServiceTest = TrainingTest;

TEST_F(TrainingServiceTest, StartsAJobWithTheDefaultsOfTheSpec) {
  Start();
  v1::StartTrainingRequest request = Ask();
  (*request.mutable_labels())["run"] = "one";
  v1::StartTrainingResponse response;
  const grpc::Status status = StartJob(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.job().state(), v1::JOB_STATE_QUEUED);
  EXPECT_EQ(response.job().model(), "out");
  EXPECT_EQ(response.job().steps(), 200);
  EXPECT_EQ(response.job().labels().at("run"), "one");
  const Job job = jobs_.Get(response.job().id()).value();
  EXPECT_EQ(job.principal, "local");
  EXPECT_EQ(job.spec.train.device, "cpu");
  EXPECT_EQ(job.spec.train.lr, 3e-4);
  EXPECT_EQ(job.spec.datasets.at(0).name, "data.txt");
}

TEST_F(TrainingServiceTest, TakesEveryOption) {
  Start();
  v1::StartTrainingRequest request = Ask();
  request.mutable_init_from()->set_model("fake");
  request.mutable_tokenizer()->set_bytes(true);
  request.mutable_shape()->set_architecture("hybrid");
  request.mutable_shape()->set_attn_every(2);
  v1::TrainOptions& options = *request.mutable_options();
  options.set_steps(10);
  options.set_warmup_steps(0);
  options.set_schedule(v1::LR_SCHEDULE_COSINE);
  options.set_dtype("bfloat16");
  options.set_device("cuda:1");
  options.set_clip_norm(0);
  v1::StartTrainingResponse response;
  const grpc::Status status = StartJob(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const JobSpec spec = jobs_.Get(response.job().id())->spec;
  EXPECT_EQ(spec.source.name, "fake@v1");
  EXPECT_EQ(spec.source.kind, SourceSpec::Kind::kFolder);
  EXPECT_EQ(spec.tokenizer.kind, SourceSpec::Kind::kBytes);
  EXPECT_EQ(spec.shape.architecture, Architecture::kHybrid);
  EXPECT_EQ(spec.shape.attn_every, 2);
  EXPECT_EQ(spec.train.steps, 10);
  EXPECT_EQ(spec.train.schedule, LrSchedule::kCosine);
  EXPECT_EQ(spec.train.dtype, TrainDtype::kBfloat16);
  EXPECT_EQ(spec.train.device, "cuda:1");
  EXPECT_EQ(spec.train.clip_norm, 0);
}

TEST_F(TrainingServiceTest, AnswersWithThePlanAndStartsNothingWhenOnlyValidating) {
  Start();
  v1::StartTrainingRequest request = Ask();
  request.set_validate_only(true);
  v1::StartTrainingResponse response;
  ASSERT_TRUE(StartJob(request, &response).ok());
  EXPECT_FALSE(response.has_job());
  EXPECT_EQ(response.plan().dataset_tokens(), 100);
  EXPECT_TRUE(jobs_.List(std::nullopt, 10, "")->jobs.empty());
}

TEST_F(TrainingServiceTest, PassesARefusalOfThePlanOn) {
  Start();
  v1::StartTrainingRequest request = Ask();
  request.mutable_options()->set_seq_len(200'000);
  v1::StartTrainingResponse response;
  EXPECT_EQ(ReasonOf(StartJob(request, &response)), "NO_SUPERVISED_TOKENS");
}

TEST_F(TrainingServiceTest, AnswersARepeatedRequestIdWithTheSameJob) {
  Start();
  v1::StartTrainingRequest request = Ask();
  request.set_request_id("once");
  v1::StartTrainingResponse first, second;
  ASSERT_TRUE(StartJob(request, &first).ok());
  ASSERT_TRUE(StartJob(request, &second).ok());
  EXPECT_EQ(first.job().id(), second.job().id());
  request.set_name("another");
  EXPECT_EQ(ReasonOf(StartJob(request, &second)), "REQUEST_ID_REUSED");
}

TEST_F(TrainingServiceTest, NamesEveryFieldThatIsWrong) {
  Start();
  struct Case {
    const char* name;
    std::function<void(v1::StartTrainingRequest&)> spoil;
    const char* reason;
    std::vector<std::string> fields;
  };
  using Request = v1::StartTrainingRequest;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Case cases[] = {
      {"no name", [](Request& r) { r.clear_name(); }, "INVALID_ARGUMENT", {"name"}},
      {"path", [](Request& r) { r.set_name("../out"); }, "PATH_OUTSIDE_ROOT", {"name"}},
      {"flag", [](Request& r) { r.set_name("--out"); }, "PATH_OUTSIDE_ROOT", {"name"}},
      {"long name",
       [](Request& r) { r.set_name(std::string(129, 'n')); },
       "INVALID_ARGUMENT",
       {"name"}},
      {"no data", [](Request& r) { r.clear_datasets(); }, "INVALID_ARGUMENT", {"datasets"}},
      {"bad id",
       [](Request& r) { r.mutable_datasets(0)->set_dataset("sha256:12"); },
       "INVALID_ARGUMENT",
       {"datasets[0].dataset"}},
      {"twice",
       [](Request& r) { *r.add_datasets() = r.datasets(0); },
       "INVALID_ARGUMENT",
       {"datasets[1].name"}},
      {"lr NaN",
       [=](Request& r) { r.mutable_options()->set_lr(nan); },
       "INVALID_ARGUMENT",
       {"options.lr"}},
      {"steps",
       [](Request& r) { r.mutable_options()->set_steps(0); },
       "INVALID_ARGUMENT",
       {"options.steps"}},
      {"schedule",
       [](Request& r) { r.mutable_options()->set_schedule(static_cast<v1::LrSchedule>(99)); },
       "INVALID_ARGUMENT",
       {"options.schedule"}},
      {"dtype",
       [](Request& r) { r.mutable_options()->set_dtype("fp8"); },
       "INVALID_ARGUMENT",
       {"options.dtype"}},
      {"device",
       [](Request& r) { r.mutable_options()->set_device("tpu; rm -rf"); },
       "INVALID_ARGUMENT",
       {"options.device"}},
      {"33 labels",
       [](Request& r) {
         for (int i = 0; i < 33; ++i) (*r.mutable_labels())[std::to_string(i)] = "x";
       },
       "INVALID_ARGUMENT",
       {"labels"}},
      {"long label",
       [](Request& r) { (*r.mutable_labels())["k"] = std::string(129, 'v'); },
       "INVALID_ARGUMENT",
       {"labels.k"}},
      {"architecture",
       [](Request& r) { r.mutable_shape()->set_architecture("gpt"); },
       "INVALID_ARGUMENT",
       {"shape.architecture"}},
      {"vocab",
       [](Request& r) { r.mutable_shape()->set_vocab_size((1 << 22) + 1); },
       "INVALID_ARGUMENT",
       {"shape.vocab_size"}},
      {"partial", [](Request& r) { r.set_partial(true); }, "INVALID_ARGUMENT", {"partial"}},
      {"bytes as weights",
       [](Request& r) { r.mutable_init_from()->set_bytes(true); },
       "INVALID_ARGUMENT",
       {"init_from.bytes"}},
      {"empty source",
       [](Request& r) { r.mutable_init_from(); },
       "INVALID_ARGUMENT",
       {"init_from"}},
      {"several at once",
       [](Request& r) {
         r.mutable_options()->set_steps(-1);
         r.mutable_options()->set_batch_size(0);
         r.set_request_id("a b");
       },
       "INVALID_ARGUMENT",
       {"request_id", "options.steps", "options.batch_size"}},
  };
  const v1::StartTrainingRequest good = Ask();
  for (const Case& bad : cases) {
    v1::StartTrainingRequest request = good;
    bad.spoil(request);
    v1::StartTrainingResponse response;
    const grpc::Status status = StartJob(request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << bad.name;
    EXPECT_EQ(ReasonOf(status), bad.reason) << bad.name << ": " << status.error_message();
    EXPECT_EQ(FieldsOf(status), bad.fields) << bad.name << ": " << status.error_message();
  }
  EXPECT_EQ(plans_, 0);
}

TEST_F(TrainingServiceTest, RefusesARequestLargerThanAJobSpecMayBe) {
  Start();
  v1::StartTrainingRequest request = Ask();
  request.mutable_init_from()->set_model(std::string(70'000, 'm'));
  v1::StartTrainingResponse response;
  EXPECT_EQ(ReasonOf(StartJob(request, &response)), "MESSAGE_TOO_LARGE");
}

TEST_F(TrainingServiceTest, NamesTheDatasetOrModelThatIsNotThere) {
  Start();
  v1::StartTrainingRequest request = Ask();
  v1::StartTrainingResponse response;
  request.mutable_init_from()->set_model("absent");
  EXPECT_EQ(ReasonOf(StartJob(request, &response)), "MODEL_NOT_FOUND");
  request.clear_init_from();
  request.mutable_datasets(0)->set_dataset("sha256:" + std::string(64, '0'));
  EXPECT_EQ(ReasonOf(StartJob(request, &response)), "DATASET_NOT_FOUND");
}

TEST_F(TrainingServiceTest, ListsPagesAndCancels) {
  Start();
  const v1::StartTrainingRequest request = Ask();
  v1::StartTrainingResponse started;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(StartJob(request, &started).ok());
  v1::ListJobsRequest list;
  list.set_page_size(2);
  std::vector<std::string> ids;
  do {
    v1::ListJobsResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(training_->ListJobs(&context, list, &page).ok());
    for (const v1::Job& job : page.jobs()) ids.push_back(job.id());
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_EQ(ids, (std::vector<std::string>{"job-5", "job-4", "job-3", "job-2", "job-1"}));
  v1::CancelJobRequest cancel;
  cancel.set_id("job-3");
  v1::Job job;
  grpc::ClientContext first, second, third;
  ASSERT_TRUE(training_->CancelJob(&first, cancel, &job).ok());
  EXPECT_EQ(job.state(), v1::JOB_STATE_CANCELLED);
  const grpc::Status again = training_->CancelJob(&second, cancel, &job);
  EXPECT_EQ(again.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ReasonOf(again), "WRONG_STATE");
  list.set_page_size(1001);
  v1::ListJobsResponse page;
  EXPECT_EQ(FieldsOf(training_->ListJobs(&third, list, &page)),
            std::vector<std::string>{"page_size"});
}

}  // namespace
}  // namespace lfm2
