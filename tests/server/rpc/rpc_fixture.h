// A real server and a real client in one process, on loopback; the model is a fake, everything else
// is not.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "lfm2/v1/generation.grpc.pb.h"
#include "lfm2/v1/models.grpc.pb.h"
#include "lfm2/v1/training.grpc.pb.h"
#include "server/rpc/rpc_server.h"
#include "server/rpc/transport/rpc_options.h"
#include "server/rpc/transport/service_context.h"
#include "server/rpc/transport/status.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/temp_directory.h"
#include "tests/server/rpc/fake_job_queue.h"

namespace lfm2 {

// True as soon as it is; a test that waits in vain fails after 20 s.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

inline ErrorDetails DetailsOfWire(const grpc::Status& status) {
  return DetailsOf(FromGrpcStatus(status));
}

inline std::string ReasonOf(const grpc::Status& status) {
  return status.ok() ? "OK" : SpecOf(DetailsOfWire(status).reason).name;
}

inline std::vector<std::string> FieldsOf(const grpc::Status& status) {
  std::vector<std::string> fields;
  for (const auto& violation : DetailsOfWire(status).violations) fields.push_back(violation.field);
  return fields;
}

// A call by name with raw bytes: what a client of any language may send.
inline grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel,
                            const std::string& method, const std::string& bytes,
                            grpc::ClientContext& context, std::string* reply = nullptr) {
  grpc::GenericStub stub(channel);
  const grpc::Slice slice(bytes);
  grpc::ByteBuffer request(&slice, 1), response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                 [&](grpc::Status status) { done.set_value(std::move(status)); });
  grpc::Status status = done.get_future().get();
  if (reply != nullptr && response.Valid()) {
    std::vector<grpc::Slice> slices;
    (void)response.Dump(&slices);
    for (const grpc::Slice& part : slices) {
      reply->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

class RpcTest : public testing::Test {
 protected:
  RpcTest() {
    SetUpLog({LogLevel::kError, false});
    const auto root = directory_.path();
    models_ = ModelStore::Open(root / "models", root / "hf").value();
    datasets_ = DatasetStore::Open(root / "datasets", limits_, Clock::Real()).value();
    PublishModel("fake");
  }
  ~RpcTest() override {
    if (server_) server_->Shutdown(std::chrono::milliseconds(0));
    server_.reset();
    long_work_.reset();
    tokenizer_reads_.reset();
    loads_.reset();
    executor_.reset();
    engine_.reset();
  }

  void PublishModel(const std::string& name, int64_t created_at_ms = 1000) {
    const auto made = directory_.path() / ("made-" + name);
    WriteText(made / "config.json",
              R"({"model_type": "lfm2_ssm_hybrid", "vocab_size": 259, "hidden_size": 64,
                  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                  "intermediate_size": 128, "ssm_state_size": 8, "attn_every": 2,
                  "parallel_residual": false, "rope_theta": 10000.0, "norm_eps": 1e-05,
                  "tie_word_embeddings": true})");
    ModelManifest manifest;
    manifest.created_at_ms = created_at_ms;
    manifest.made_from = "test";
    manifest.tokenizer_kind = "bytes";
    ASSERT_TRUE(models_->Publish(made, name, manifest).ok());
  }

  // Set limits_, script_, options_ and jobs_'s hooks before.
  absl::Status TryStart() {
    engine_ = std::make_unique<Engine>(limits_, *clock_);
    pool_ = std::make_unique<ModelPool>(
        *models_,
        [this](const ModelVersion& version) -> absl::StatusOr<std::shared_ptr<LoadedModel>> {
          if (before_load_) before_load_(version.name);
          auto model = MakeFakeModel(script_, counters_, version.name);
          model->version = version.version;
          return model;
        },
        limits_.loaded_models);
    executor_ = std::make_unique<Executor>(4, 4096);
    loads_ = std::make_unique<Executor>(1, 64);
    long_work_ = std::make_unique<Executor>(2, 2);
    tokenizer_reads_ = std::make_unique<Executor>(1, 64);
    if (options_.listen == RpcOptions().listen) options_.listen = "127.0.0.1:0";
    const ServiceContext context{
        .engine = *engine_,
        .models = *pool_,
        .model_store = *models_,
        .datasets = *datasets_,
        .jobs = with_jobs_ ? &jobs_ : nullptr,
        .executor = *executor_,
        .loads = *loads_,
        .long_work = *long_work_,
        .tokenizer_reads = *tokenizer_reads_,
        .plan = [this](const JobSpec& spec, PlanDepth depth,
                       const StopCheck& stop) { return Plan(spec, depth, stop); },
        .probe = [this](const SourceSpec&, const std::vector<int32_t>& tokens,
                        const StopCheck& stop) { return ProbeSource(tokens, stop); },
        .clock = *clock_,
        .limits = limits_,
        .default_model = default_model_,
        .train_device = "cpu",
        .default_context = 4096,
        .hf_cache_root = ""};
    absl::StatusOr<std::unique_ptr<RpcServer>> server = RpcServer::Start(options_, context);
    if (!server.ok()) return server.status();
    server_ = *std::move(server);
    return absl::OkStatus();
  }

  void Start() {
    const absl::Status status = TryStart();
    ASSERT_TRUE(status.ok()) << status;
    Connect();
  }

  void Connect(const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                   grpc::InsecureChannelCredentials(),
               grpc::ChannelArguments arguments = {}) {
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(server_->address(), credentials, arguments);
    generation_ = v1::Generation::NewStub(channel_);
    training_ = v1::Training::NewStub(channel_);
    models_stub_ = v1::Models::NewStub(channel_);
  }

  // Small windows, so that a reader that does not read is felt soon.
  void StartWithSmallWindows() {
    Start();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1024);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    Connect(grpc::InsecureChannelCredentials(), arguments);
  }

  // To the end of the report, whatever it says.
  grpc::Status Parity(const v1::ParityRequest& request) {
    grpc::ClientContext context;
    const auto reader = models_stub_->Parity(&context, request);
    v1::ParityResponse event;
    while (reader->Read(&event)) {
    }
    return reader->Finish();
  }

  // Before Start: each step of the engine takes so long.
  void StepTakes(int ms) {
    script_.before_step = [ms](std::span<const StepItem>) {
      std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    };
  }

  virtual absl::StatusOr<ParityReport> ProbeSource(const std::vector<int32_t>& tokens,
                                                   const StopCheck&) {
    return FakeModelRunner().Probe(tokens, {.values = true, .all_logits = true});
  }

  virtual absl::StatusOr<TrainPlan> Plan(const JobSpec&, PlanDepth depth, const StopCheck&) {
    TrainPlan plan;
    plan.parameters = 7;
    if (depth == PlanDepth::kFull) plan.dataset_tokens = 100;
    return plan;
  }

  static v1::GenerateRequest Ask(const std::string& text, int64_t max_new_tokens = 16) {
    v1::GenerateRequest request;
    request.mutable_model()->set_name("fake");
    request.set_text(text);
    request.set_max_new_tokens(max_new_tokens);
    return request;
  }

  struct Answer {
    grpc::Status status;
    std::vector<v1::GenerateResponse> events;
    std::string text;
    int64_t tokens = 0;
  };
  Answer Generate(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    return Generate(request, context);
  }
  Answer Generate(const v1::GenerateRequest& request, grpc::ClientContext& context) {
    Answer answer;
    const auto reader = generation_->Generate(&context, request);
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
      if (event.has_token()) {
        EXPECT_EQ(event.token().index(), answer.tokens++);
        answer.text += event.token().text();
      }
      if (event.has_end()) answer.text += event.end().text();
      answer.events.push_back(event);
    }
    answer.status = reader->Finish();
    return answer;
  }

  TempDirectory directory_;
  Limits limits_;
  Clock* clock_ = &Clock::Real();
  RpcOptions options_;
  std::string default_model_;
  bool with_jobs_ = true;
  FakeModelScript script_;
  std::function<void(const std::string& name)> before_load_;
  std::shared_ptr<FakeModelCounters> counters_ = std::make_shared<FakeModelCounters>();
  FakeJobQueue jobs_;
  std::unique_ptr<ModelStore> models_;
  std::unique_ptr<DatasetStore> datasets_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ModelPool> pool_;
  std::unique_ptr<Executor> executor_, loads_, long_work_, tokenizer_reads_;
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generation::Stub> generation_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<v1::Models::Stub> models_stub_;
};

}  // namespace lfm2
