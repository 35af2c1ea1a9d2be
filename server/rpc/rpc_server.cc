#include "server/rpc/rpc_server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "base/errors.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "server/engine/readiness.h"
#include "server/engine/watchdog.h"
#include "server/rpc/calls/services.h"
#include "server/rpc/transport/bind.h"
#include "server/rpc/transport/event_stream.h"
#include "server/rpc/transport/foreign_methods.h"
#include "server/rpc/transport/rpc_options.h"
#include "server/rpc/transport/service_context.h"
#include "server/rpc/transport/tls.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

constexpr size_t kTransportMemory = size_t{512} << 20;
constexpr char kGeneration[] = "lfm2.v1.Generation";
constexpr char kTraining[] = "lfm2.v1.Training";
constexpr char kModels[] = "lfm2.v1.Models";
constexpr milliseconds kLastWait{500};  // from ending the calls to ending the connections

// Once per process, before the first server: sets up the services that the library implements.
void EnablePlugins(bool reflection) {
  static const bool health = [] {
    google::protobuf::SetLogHandler(
        nullptr);  // it would log a peer's malformed bytes; ParseRequest answers them
    grpc::EnableDefaultHealthCheckService(true);
    return true;
  }();
  (void)health;
  if (!reflection) return;
  static const bool reflected = [] {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    return true;
  }();
  (void)reflected;
}

void SetChannelArguments(const Limits& limits, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits.message_bytes));
  builder.SetMaxSendMessageSize(static_cast<int>(limits.message_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(limits.metadata_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                             static_cast<int>(limits.streams_per_connection));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(limits.keepalive_ms));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                             static_cast<int>(limits.keepalive_timeout_ms));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Keep pinging however long a stream is silent; by default gRPC stops after two pings.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             static_cast<int>(limits.keepalive_least_ms));
  // Otherwise a second daemon could share the port, and each would get half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  grpc::ResourceQuota quota("lfm2d");
  quota.Resize(kTransportMemory);
  builder.SetResourceQuota(quota);
}

// The socket file has mode 0660 from its creation on.
class SocketMode {
 public:
  explicit SocketMode(const ListenAddress& address) : unix_(address.is_unix()) {
    if (unix_) before_ = umask(0117);
  }
  ~SocketMode() {
    if (unix_) umask(before_);
  }
  SocketMode(const SocketMode&) = delete;
  SocketMode& operator=(const SocketMode&) = delete;

 private:
  const bool unix_;
  mode_t before_ = 0;
};

}  // namespace

class RpcServer::Impl {
 public:
  Impl(std::shared_ptr<ServiceCore> core, ListenAddress address)
      : core_(std::move(core)),
        address_(std::move(address)),
        watchdog_(core_->context.engine, core_->context.models, core_->context.clock,
                  core_->context.limits.engine_stall_ms),
        readiness_({core_->context.engine, core_->context.models, core_->context.model_store,
                    core_->context.loads, core_->context.clock},
                   core_->context.default_model, core_->context.limits.engine_stall_ms / 4) {
    services_.push_back(MakeGenerationService(core_));
    services_.push_back(MakeTrainingService(core_));
    services_.push_back(MakeModelsService(core_));
  }
  ~Impl() { Shutdown(milliseconds(0)); }

  absl::Status Bind(const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    if (address_.is_unix()) LFM2_RETURN_IF_ERROR(ClaimSocketPath(address_.unix_path));
    grpc::ServerBuilder builder;
    SetChannelArguments(core_->context.limits, builder);
    int port = 0;
    builder.AddListeningPort(address_.WithPort(address_.port), credentials, &port);
    for (const auto& service : services_) builder.RegisterService(service.get());
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> guards;
    guards.push_back(GuardForeignMethods(core_));
    builder.experimental().SetInterceptorCreators(std::move(guards));
    {
      const SocketMode mode(address_);
      server_ = builder.BuildAndStart();
    }
    if (!server_ || (port <= 0 && !address_.is_unix())) {
      return WhyNotBound(address_);
    }
    actual_port_ = port;
    SetOthersServing(true);
    SetTrainingServing();
    LookAtGeneration();
    sweeper_ = std::thread([this] { SweepUntilStopped(); });
    return absl::OkStatus();
  }

  std::string address() const { return address_.WithPort(actual_port_); }

  RpcStats stats() const { return {core_->calls.count(), core_->calls.streams(), serving_}; }

  void BeginDrain() {
    core_->draining = true;
    SetOthersServing(false);
    SetTrainingServing();
    SetGenerationServing(false, "the server is stopping");
  }

  void Shutdown(milliseconds timeout) {
    if (!server_) return;
    BeginDrain();
    const absl::Status draining = RetryLater(Reason::kDraining, "the server is stopping", 1000);
    core_->calls.ForEachStream([&](EventStream& stream) {
      if (stream.resumable()) stream.Cut(draining);
    });
    if (!core_->calls.WaitUntilNone(timeout)) {
      Log(LogLevel::kWarning, "ending calls that have not finished",
          {{"open", std::to_string(core_->calls.count())}});
      core_->calls.ForEachStream([&](EventStream& stream) { stream.Cut(draining); });
      core_->calls.WaitUntilNone(kLastWait);
    }
    server_->Shutdown(std::chrono::system_clock::now() + kLastWait);
    StopSweeper();
    server_.reset();
    if (address_.is_unix()) unlink(address_.unix_path.c_str());
  }

 private:
  void SetOthersServing(bool serving) {
    grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
    if (health == nullptr) return;
    health->SetServingStatus(kModels, serving);
  }

  // Training is served while the job store is open, workers can be started, and nothing drains.
  void SetTrainingServing() LFM2_EXCLUDES(health_mutex_) {
    JobQueue* jobs = core_->context.jobs;
    const bool able = jobs != nullptr && jobs->worker_status().ok();
    MutexLock lock(health_mutex_);
    Tell(kTraining, able && !core_->draining);
  }

  // True when the state is new: every call to the library notifies those who watch the service.
  bool Tell(const char* service, bool serving) LFM2_REQUIRES(health_mutex_) {
    const auto [known, is_first] = told_.try_emplace(service, serving);
    if (!is_first && known->second == serving) return false;
    known->second = serving;
    if (grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService()) {
      health->SetServingStatus(service, serving);
    }
    return true;
  }

  // Generation is served while a model is ready, the engine makes progress and nothing drains.
  void LookAtGeneration() {
    const bool ready = readiness_.Look();
    const bool moves = watchdog_.Look();
    const char* why = moves ? "no model answers yet" : "the engine makes no progress";
    if (ready && moves && !core_->draining) why = nullptr;
    SetGenerationServing(why == nullptr, why == nullptr ? "a model answers" : why);
  }

  void SetGenerationServing(bool serving, const char* why) LFM2_EXCLUDES(health_mutex_) {
    MutexLock lock(health_mutex_);
    if (core_->draining) serving = false;
    const bool is_first = told_.count(kGeneration) == 0;
    if (!Tell(kGeneration, serving)) return;
    const LogLevel level = serving || is_first ? LogLevel::kInfo : LogLevel::kError;
    serving_ = serving;
    if (!core_->draining) {
      Log(level, "generation", {{"serving", serving ? "yes" : "no"}, {"why", why}});
    }
  }

  // Looks for clients that do not read, and checks the engine's progress.
  void SweepUntilStopped() {
    const int64_t timeout_ms = core_->context.limits.slow_reader_timeout_ms;
    const int64_t full_ms = core_->context.limits.full_buffer_timeout_ms;
    const int64_t stall_ms = core_->context.limits.engine_stall_ms;
    const milliseconds period(
        std::clamp<int64_t>(std::min({timeout_ms / 4, full_ms / 4, stall_ms / 16}), 10, 500));
    MutexLock lock(mutex_);
    while (!stop_sweeping_) {
      stopped_.WaitFor(mutex_, period);
      mutex_.Unlock();
      const SteadyTime now = core_->context.clock.Now();
      core_->calls.ForEachStream([&](EventStream& stream) { stream.EndIfStuck(now); });
      LookAtGeneration();
      SetTrainingServing();
      mutex_.Lock();
    }
  }

  void StopSweeper() {
    {
      MutexLock lock(mutex_);
      stop_sweeping_ = true;
    }
    stopped_.NotifyAll();
    if (sweeper_.joinable()) sweeper_.join();
  }

  const std::shared_ptr<ServiceCore> core_;
  const ListenAddress address_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  int actual_port_ = 0;
  Watchdog watchdog_;    // used by the sweeper after its first check
  Readiness readiness_;  // likewise
  Mutex health_mutex_;
  std::map<std::string, bool> told_ LFM2_GUARDED_BY(health_mutex_);  // by service
  std::atomic<bool> serving_{false};                                 // written under health_mutex_
  std::thread sweeper_;
  Mutex mutex_;
  CondVar stopped_;
  bool stop_sweeping_ LFM2_GUARDED_BY(mutex_) = false;
};

namespace {

void WarnOfExposure(const ListenAddress& address, const RpcOptions& options) {
  if (address.IsLocal() || !options.insecure_i_know) return;
  if (!options.tls_cert_file.empty() && !options.tokens_file.empty()) return;
  Log(LogLevel::kWarning,
      "listening beyond this host without TLS and tokens: insecure_i_know is on",
      {{"address", address.WithPort(address.port)}});
}

// Credentials and address from the options, before anything is bound.
struct Prepared {
  ListenAddress address;
  std::shared_ptr<grpc::ServerCredentials> credentials;
  Authenticator auth;
};

absl::StatusOr<Prepared> Prepare(const RpcOptions& options) {
  Prepared prepared{{}, nullptr, Authenticator::Local()};
  LFM2_ASSIGN_OR_RETURN(prepared.address, ParseListenAddress(options.listen));
  LFM2_RETURN_IF_ERROR(CheckExposure(prepared.address, options));
  LFM2_ASSIGN_OR_RETURN(prepared.credentials, MakeServerCredentials(options));
  if (!options.tokens_file.empty()) {
    LFM2_ASSIGN_OR_RETURN(prepared.auth, Authenticator::FromFile(options.tokens_file));
  }
  return prepared;
}

}  // namespace

absl::Status RpcServer::Check(const RpcOptions& options) { return Prepare(options).status(); }

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Start(const RpcOptions& options,
                                                            const ServiceContext& context) {
  LFM2_ASSIGN_OR_RETURN(Prepared prepared, Prepare(options));
  WarnOfExposure(prepared.address, options);
  EnablePlugins(options.reflection);
  auto core = std::make_shared<ServiceCore>(context, std::move(prepared.auth));
  auto impl = std::make_unique<Impl>(std::move(core), std::move(prepared.address));
  LFM2_RETURN_IF_ERROR(impl->Bind(prepared.credentials));
  return std::unique_ptr<RpcServer>(new RpcServer(std::move(impl)));
}

RpcServer::RpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RpcServer::~RpcServer() = default;

std::string RpcServer::address() const { return impl_->address(); }
RpcStats RpcServer::stats() const { return impl_->stats(); }
void RpcServer::BeginDrain() { impl_->BeginDrain(); }
void RpcServer::Shutdown(milliseconds timeout) { impl_->Shutdown(timeout); }

}  // namespace lfm2
