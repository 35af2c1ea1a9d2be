#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

class ModelsServiceTest : public RpcTest {
 protected:
  template <typename Reader, typename Event>
  static grpc::Status ReadAll(const std::unique_ptr<Reader>& reader, std::vector<Event>& events) {
    Event event;
    while (reader->Read(&event)) events.push_back(event);
    return reader->Finish();
  }
  grpc::Status Parity(const v1::ParityRequest& request, std::vector<v1::ParityResponse>& events) {
    grpc::ClientContext context;
    return ReadAll(models_stub_->Parity(&context, request), events);
  }
  grpc::Status Export(const v1::ExportRequest& request, std::vector<v1::ExportResponse>& events) {
    grpc::ClientContext context;
    return ReadAll(models_stub_->Export(&context, request), events);
  }
  static v1::ParityRequest Tokens(std::vector<int32_t> tokens) {
    v1::ParityRequest request;
    request.mutable_model()->set_name("fake");
    request.mutable_tokens()->Assign(tokens.begin(), tokens.end());
    return request;
  }
  // An export of two files and an empty one, done as soon as it is submitted.
  void ExportsAtOnce(size_t bytes) {
    jobs_.export_directory = directory_.path() / "export";
    big_ = std::string(bytes, 'x');
    for (size_t i = 0; i < big_.size(); i += 997) big_[i] = static_cast<char>(i);
    WriteText(jobs_.export_directory / "model.npz", big_);
    WriteText(jobs_.export_directory / "model.json", "{}");
    WriteText(jobs_.export_directory / "empty", "");
    jobs_.on_submit = [this](const std::string& id) {
      jobs_.Append(id, Progress{1, 2, "tensors"});
      jobs_.SetFiles(id, {{"empty", 0, Sha256Hex("")},
                          {"model.json", 2, Sha256Hex("{}")},
                          {"model.npz", static_cast<int64_t>(big_.size()), Sha256Hex(big_)}});
      jobs_.Append(id, Ended(JobState::kSucceeded));
    };
  }
  static v1::ExportRequest Npz() {
    v1::ExportRequest request;
    request.mutable_model()->set_name("fake");
    request.set_format(v1::EXPORT_FORMAT_NPZ);
    return request;
  }
  std::string big_;
};

TEST_F(ModelsServiceTest, ListsModelsInPages) {
  PublishModel("b");
  PublishModel("c");
  Start();
  v1::ListModelsRequest request;
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    v1::ListModelsResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(models_stub_->ListModels(&context, request, &page).ok());
    for (const v1::Model& model : page.models()) names.push_back(model.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(names, (std::vector<std::string>{"b", "c", "fake"}));
}

TEST_F(ModelsServiceTest, TellsWhatIsKnownOfAModel) {
  PublishModel("fake");
  Start();
  v1::GetModelRequest request;
  request.mutable_model()->set_name("fake@v1");
  v1::Model model;
  {
    grpc::ClientContext context;
    const grpc::Status status = models_stub_->GetModel(&context, request, &model);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(model.name(), "fake");
  EXPECT_EQ(model.version(), "v1");
  EXPECT_EQ(std::vector<std::string>(model.versions().begin(), model.versions().end()),
            (std::vector<std::string>{"v1", "v2"}));
  EXPECT_EQ(model.architecture(), "hybrid");
  EXPECT_EQ(model.vocab_size(), 259);
  EXPECT_EQ(model.layers(), 2);
  EXPECT_GT(model.parameters(), 0);
  EXPECT_EQ(model.tokenizer_kind(), "bytes");
  EXPECT_EQ(model.tokenizer_sha256().size(), 64U);
  EXPECT_FALSE(model.loaded());
  EXPECT_NE(model.config_json().find("lfm2_ssm_hybrid"), std::string::npos);
  v1::GenerateRequest load = Ask("x", 1);
  load.mutable_model()->set_name("fake@v1");
  ASSERT_EQ(Generate(load).tokens, 1);
  grpc::ClientContext context;
  ASSERT_TRUE(models_stub_->GetModel(&context, request, &model).ok());
  EXPECT_TRUE(model.loaded());
  EXPECT_EQ(model.device(), "cpu");
}

TEST_F(ModelsServiceTest, StreamsProbesThenTheLastLogits) {
  Start();
  std::vector<v1::ParityResponse> events;
  const grpc::Status status = Parity(Tokens({1, 2, 3}), events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].probe().name(), "hidden");
  EXPECT_EQ(events[0].probe().values_size(), 0);
  EXPECT_EQ(events[1].probe().name(), "logits");
  EXPECT_EQ(events[2].logits().position(), 2);
  EXPECT_EQ(
      std::vector<float>(events[2].logits().values().begin(), events[2].logits().values().end()),
      (std::vector<float>{8, 9, 10, 11}));
}

TEST_F(ModelsServiceTest, StreamsAllLogitsAndValuesWhenAsked) {
  limits_.stream_buffer_events = 4;  // far fewer than there are events
  Start();
  v1::ParityRequest request = Tokens(std::vector<int32_t>(4096, 1));
  request.set_all_logits(true);
  request.set_values(true);
  std::vector<v1::ParityResponse> events;
  const grpc::Status status = Parity(request, events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(events.size(), 4098U);
  EXPECT_EQ(events[0].probe().values_size(), 4 * 4096);
  for (int i = 0; i < 4096; ++i)
    EXPECT_EQ(events[static_cast<size_t>(i) + 2].logits().position(), i);
}

TEST_F(ModelsServiceTest, ComparesWithAnotherModelAndWithUploadedFiles) {
  PublishModel("twin");
  Start();
  v1::ParityRequest request = Tokens({1, 2});
  request.mutable_against()->set_model("twin");
  std::vector<v1::ParityResponse> events;
  grpc::Status status = Parity(request, events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].probe().values_size(), 0);
  EXPECT_EQ(events[2].logits().position(), 1);
  EXPECT_EQ(events[3].comparison().first_difference(), "");
  EXPECT_EQ(events[3].comparison().probes_size(), 2);
  auto upload = datasets_->Begin("model.npz").value();
  const std::string id = upload->Commit("")->id;
  auto* file = request.mutable_against()->mutable_files()->add_files();
  file->set_name("model.npz");
  file->set_dataset(id);
  events.clear();
  status = Parity(request, events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(events.back().has_comparison());
}

TEST_F(ModelsServiceTest, RefusesWrongParityRequests) {
  Start();
  std::vector<v1::ParityResponse> events;
  EXPECT_EQ(ReasonOf(Parity(Tokens({}), events)), "PROMPT_EMPTY");
  EXPECT_EQ(ReasonOf(Parity(Tokens(std::vector<int32_t>(4097, 1)), events)), "PROMPT_TOO_LONG");
  EXPECT_EQ(FieldsOf(Parity(Tokens({1, 259}), events)), std::vector<std::string>{"tokens[1]"});
  v1::ParityRequest request = Tokens({1});
  request.set_tolerance(-1);
  EXPECT_EQ(FieldsOf(Parity(request, events)), std::vector<std::string>{"tolerance"});
  request = Tokens({1});
  request.mutable_against()->set_bytes(true);
  EXPECT_EQ(FieldsOf(Parity(request, events)), std::vector<std::string>{"against.bytes"});
}

TEST_F(ModelsServiceTest, StreamsAnExportFileByFileWithItsHashes) {
  ExportsAtOnce((3 << 20) + 17);
  limits_.stream_buffer_events = 8;
  Start();
  std::vector<v1::ExportResponse> events;
  const grpc::Status status = Export(Npz(), events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  std::map<std::string, std::string> files;
  std::string current;
  for (const v1::ExportResponse& event : events) {
    if (event.has_file()) files[current = event.file().name()] = "";
    if (event.event_case() == v1::ExportResponse::kChunk) {
      EXPECT_LE(event.chunk().size(), size_t{1} << 20);
      files[current] += event.chunk();
    }
  }
  EXPECT_EQ(files.size(), 3U);
  EXPECT_EQ(files["empty"], "");
  EXPECT_EQ(files["model.json"], "{}");
  EXPECT_TRUE(files["model.npz"] == big_);
  ASSERT_TRUE(events.back().has_done());
  EXPECT_EQ(events.back().done().files_size(), 3);
  EXPECT_EQ(events.front().job_id(), "job-1");
  EXPECT_TRUE(Eventually([&] { return jobs_.held() == 0; }));
}

TEST_F(ModelsServiceTest, ReleasesAnExportWhoseReaderWent) {
  ExportsAtOnce(64 << 20);
  Start();
  grpc::ClientContext context;
  const auto reader = models_stub_->Export(&context, Npz());
  v1::ExportResponse event;
  while (reader->Read(&event) && event.event_case() != v1::ExportResponse::kChunk) {
  }
  EXPECT_EQ(jobs_.held(), 1);
  context.TryCancel();
  EXPECT_TRUE(Eventually([&] { return jobs_.held() == 0; }));
  while (reader->Read(&event)) {
  }
  (void)reader->Finish();
}

TEST_F(ModelsServiceTest, CancelsAnExportJobWhoseClientWentButNotAnInitJob) {
  Start();
  {
    grpc::ClientContext context;
    const auto reader = models_stub_->Export(&context, Npz());
    v1::ExportResponse event;
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.job_id(), "job-1");
    context.TryCancel();
    (void)reader->Finish();
  }
  EXPECT_TRUE(Eventually([&] { return jobs_.Get("job-1")->state == JobState::kCancelled; }));
  grpc::ClientContext context;
  v1::InitModelRequest request;
  request.set_name("new");
  const auto reader = models_stub_->InitModel(&context, request);
  v1::InitModelResponse event;
  ASSERT_TRUE(reader->Read(&event));
  context.TryCancel();
  (void)reader->Finish();
  server_->Shutdown(std::chrono::milliseconds(1000));
  EXPECT_EQ(jobs_.Get("job-2")->state, JobState::kQueued);
}

TEST_F(ModelsServiceTest, GivesAFailedJobsReason) {
  jobs_.on_submit = [this](const std::string& id) {
    jobs_.Append(id, Ended(JobState::kFailed,
                           Error(Reason::kWeightsMismatch, "tensor x", {{"tensor", "x"}})));
  };
  Start();
  std::vector<v1::ExportResponse> events;
  const grpc::Status status = Export(Npz(), events);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "WEIGHTS_MISMATCH");
  EXPECT_EQ(DetailsOfWire(status).metadata.at("tensor"), "x");
  EXPECT_EQ(jobs_.held(), 0);
}

TEST_F(ModelsServiceTest, StreamsProgressReportAndModelOfAnInit) {
  jobs_.on_submit = [this](const std::string& id) {
    jobs_.Append(id, Progress{1, 2, "tensors"});
    ConversionReport report;
    report.tensors.push_back({"a", TensorFate::kCopied, ""});
    jobs_.Append(id, report);
    PublishModel("new");
    jobs_.Append(id, Ended(JobState::kSucceeded, absl::OkStatus(), "v1"));
  };
  Start();
  v1::InitModelRequest request;
  request.set_name("new");
  request.mutable_source()->set_model("fake");
  std::vector<v1::InitModelResponse> events;
  grpc::ClientContext context;
  const grpc::Status status = ReadAll(models_stub_->InitModel(&context, request), events);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].job_id(), "job-1");
  EXPECT_EQ(events[1].progress().total(), 2);
  EXPECT_EQ(events[2].report().tensors(0).fate(), v1::TensorReport::FATE_COPIED);
  EXPECT_EQ(events[3].model().name(), "new");
}

TEST_F(ModelsServiceTest, RefusesWrongExportsAndInits) {
  Start();
  std::vector<v1::ExportResponse> events;
  v1::ExportRequest request = Npz();
  request.clear_format();
  EXPECT_EQ(FieldsOf(Export(request, events)), std::vector<std::string>{"format"});
  request = Npz();
  request.mutable_model()->set_name("absent");
  EXPECT_EQ(ReasonOf(Export(request, events)), "MODEL_NOT_FOUND");
  v1::InitModelRequest init;
  init.set_name("a/b");
  init.mutable_shape()->set_rope_theta(-1);
  std::vector<v1::InitModelResponse> nothing;
  grpc::ClientContext context;
  EXPECT_EQ(FieldsOf(ReadAll(models_stub_->InitModel(&context, init), nothing)),
            (std::vector<std::string>{"name", "shape.rope_theta"}));
}

}  // namespace
}  // namespace lfm2
