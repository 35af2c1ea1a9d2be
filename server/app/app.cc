#include "server/app/app.h"

#include <chrono>
#include <filesystem>

#include "base/errors.h"
#include "base/executor.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/text_endpoint.h"
#include "model/formats/hf_cache.h"
#include "server/app/config_check.h"
#include "server/app/data_dir.h"
#include "server/app/drainer.h"
#include "server/app/model_loader.h"
#include "server/engine/engine.h"
#include "server/engine/metrics.h"
#include "server/engine/model_pool.h"
#include "server/jobs/queue/job_queue.h"
#include "server/rpc/rpc_server.h"
#include "server/rpc/transport/service_context.h"
#include "server/store/dataset_store.h"
#include "server/store/model_store.h"
#include "server/torch/parts/torch_parts.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr int kExecutorThreads = 4;
constexpr size_t kExecutorQueue = 4096;
constexpr int kLoadThreads = 2;
constexpr size_t kLoadQueue = 64;
constexpr int kLongThreads = 2;
constexpr size_t kLongQueue = 32;
constexpr int kBackgroundNiceness = 10;    // both use only what a decoding engine leaves
constexpr milliseconds kLastCalls{2'000};  // for answers to reach their clients

}  // namespace

// Members are declared in the order of construction; destruction is the reverse.
class App::Impl {
 public:
  absl::Status Start(const ServerConfig& config) {
    config_ = config;
    LFM2_RETURN_IF_ERROR(CheckConfig(config));
    Clock& clock = Clock::Real();
    const fs::path data_dir = config.data_dir;
    LFM2_ASSIGN_OR_RETURN(lock_, DataDirLock::Acquire(data_dir));
    LFM2_ASSIGN_OR_RETURN(ModelLoader loader, MakeModelLoader(LoaderOptionsOf(config)));
    const fs::path hf_cache =
        config.hf_cache.empty() ? DefaultHfCacheRoot() : fs::path(config.hf_cache);
    LFM2_ASSIGN_OR_RETURN(models_, ModelStore::Open(data_dir / "models", hf_cache));
    LFM2_ASSIGN_OR_RETURN(datasets_,
                          DatasetStore::Open(data_dir / "datasets", config.limits, clock));
    pool_ = std::make_unique<ModelPool>(*models_, std::move(loader), config.limits.loaded_models);
    engine_ = std::make_unique<Engine>(config.limits, clock);
    LFM2_RETURN_IF_ERROR(OpenJobs(data_dir, clock));
    drain_ = std::make_unique<Drainer>(*engine_, jobs_.get());
    WarnOfWhatIsMissing();
    executor_ = std::make_unique<Executor>(kExecutorThreads, kExecutorQueue);
    loads_ = std::make_unique<Executor>(kLoadThreads, kLoadQueue, kBackgroundNiceness);
    long_work_ = std::make_unique<Executor>(kLongThreads, kLongQueue, kBackgroundNiceness);
    tokenizer_reads_ = std::make_unique<Executor>(1, kExecutorQueue);
    LFM2_ASSIGN_OR_RETURN(rpc_, RpcServer::Start(RpcOptionsOf(config), Context(hf_cache, clock)));
    return ServeMetrics();
  }

  ~Impl() { Drain(); }

  std::string address() const { return rpc_->address(); }
  bool gpu_lost() const { return engine_->stats().gpu_lost; }

  void Drain() {
    if (drained_ || rpc_ == nullptr) return;
    drained_ = true;
    rpc_->BeginDrain();
    drain_->Wait(milliseconds(config_.drain_timeout_ms));
    rpc_->Shutdown(drain_->ended_now() ? milliseconds(0) : kLastCalls);
  }

  void EndNow() { drain_->EndNow(); }

 private:
  // When the job store cannot be read, serving starts anyway and Training answers kJobStoreCorrupt.
  absl::Status OpenJobs(const fs::path& data_dir, Clock& clock) {
    JobQueueOptions options;
    options.data_dir = data_dir;
    options.worker_program = WorkerProgram(config_);
    options.train_slots = static_cast<int>(config_.train_slots);
    options.short_slots = static_cast<int>(config_.short_slots);
    auto jobs = JobQueue::Open(options, config_.limits, *models_, *datasets_, clock);
    if (!jobs.ok()) {
      if (DetailsOf(jobs.status()).reason != Reason::kJobStoreCorrupt) return jobs.status();
      Log(LogLevel::kError, "jobs are off", {{"cause", std::string(jobs.status().message())}});
      return absl::OkStatus();
    }
    jobs_ = *std::move(jobs);
    return absl::OkStatus();
  }

  // Warns about what an operator can repair while the daemon runs, so it does not prevent the
  // start.
  void WarnOfWhatIsMissing() {
    if (absl::Status worker = CheckWorkerProgram(WorkerProgram(config_)); !worker.ok()) {
      Log(LogLevel::kWarning, "jobs will wait", {{"cause", std::string(worker.message())}});
    }
    if (config_.default_model.empty()) return;
    if (auto model = models_->Resolve(config_.default_model); !model.ok()) {
      Log(LogLevel::kWarning, "default_model cannot be found",
          {{"cause", std::string(model.status().message())}});
    }
  }

  absl::Status ServeMetrics() {
    if (config_.metrics_listen.empty()) return absl::OkStatus();
    LFM2_ASSIGN_OR_RETURN(metrics_, TextEndpoint::Start(config_.metrics_listen, "/metrics",
                                                        [this] { return MetricsText(); }));
    Log(LogLevel::kInfo, "metrics", {{"address", metrics_->address()}});
    return absl::OkStatus();
  }

  std::string MetricsText() const {
    const EngineStats engine = engine_->stats();
    const RpcStats rpc = rpc_->stats();
    MetricsGauges gauges;
    gauges.running_sequences = engine.running;
    gauges.waiting_requests = engine.waiting;
    gauges.waiting_tokens = engine.waiting_tokens;
    gauges.open_calls = rpc.open_calls;
    gauges.open_streams = rpc.open_streams;
    gauges.serving = rpc.serving;
    for (const auto& model : pool_->Loaded()) {
      const BlockUsage blocks = model->runner->blocks();
      gauges.blocks.in_use += blocks.in_use;
      gauges.blocks.cached += blocks.cached;
      gauges.blocks.limit += blocks.limit;
      ++gauges.loaded_models;
    }
    return engine_->metrics().Text(gauges);
  }

  ServiceContext Context(const fs::path& hf_cache, Clock& clock) {
    const fs::path data_dir = config_.data_dir;
    const WorkFolders folders = {(data_dir / "datasets").string(), (data_dir / "scratch").string()};
    return ServiceContext{
        .engine = *engine_,
        .models = *pool_,
        .model_store = *models_,
        .datasets = *datasets_,
        .jobs = jobs_.get(),
        .executor = *executor_,
        .loads = *loads_,
        .long_work = *long_work_,
        .tokenizer_reads = *tokenizer_reads_,
        .plan = [=](const JobSpec& spec, PlanDepth depth,
                    const StopCheck& stop) -> absl::StatusOr<TrainPlan> {
          LFM2_RETURN_IF_ERROR(CheckTrainDevice(spec.train.device));
          LFM2_ASSIGN_OR_RETURN(const TorchParts* torch, OpenTorchParts());
          return torch->plan_train_job(spec, depth, folders, stop);
        },
        .probe = [=](const SourceSpec& source, const std::vector<int32_t>& tokens,
                     const StopCheck& stop) -> absl::StatusOr<ParityReport> {
          LFM2_ASSIGN_OR_RETURN(const TorchParts* torch, OpenTorchParts());
          return torch->probe_source(source, tokens, folders, stop);
        },
        .clock = clock,
        .limits = config_.limits,
        .default_model = config_.default_model,
        .train_device = config_.device,
        .default_context = config_.default_context,
        .hf_cache_root = hf_cache.string(),
    };
  }

  ServerConfig config_;
  bool drained_ = false;
  std::unique_ptr<DataDirLock> lock_;
  std::unique_ptr<ModelStore> models_;
  std::unique_ptr<DatasetStore> datasets_;
  std::unique_ptr<ModelPool> pool_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<JobQueue> jobs_;
  std::unique_ptr<Drainer> drain_;
  std::unique_ptr<Executor> executor_, loads_, long_work_, tokenizer_reads_;
  std::unique_ptr<RpcServer> rpc_;
  std::unique_ptr<TextEndpoint> metrics_;
};

absl::Status App::Check(const ServerConfig& config) {
  LFM2_RETURN_IF_ERROR(CheckConfig(config));
  return MakeModelLoader(LoaderOptionsOf(config)).status();
}

absl::StatusOr<std::unique_ptr<App>> App::Start(const ServerConfig& config) {
  auto impl = std::make_unique<Impl>();
  LFM2_RETURN_IF_ERROR(impl->Start(config));
  return std::unique_ptr<App>(new App(std::move(impl)));
}

App::App(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
App::~App() = default;

std::string App::address() const { return impl_->address(); }
bool App::gpu_lost() const { return impl_->gpu_lost(); }
void App::Drain() { impl_->Drain(); }
void App::EndNow() { impl_->EndNow(); }

}  // namespace lfm2
