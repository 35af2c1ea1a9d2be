// The gRPC server: binds, authenticates, translates. Everything behind it is plain C++.
// Ownership: borrows everything in ServiceContext, which must outlive it. Thread rule: Start and
// Shutdown from one thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/core/limits.h"
#include "model/core/probe.h"
#include "model/core/stop_check.h"
#include "server/base/clock.h"
#include "server/base/executor.h"
#include "server/engine/engine.h"
#include "server/engine/model_pool.h"
#include "server/jobs/job_queue.h"
#include "server/jobs/training_plan.h"
#include "server/store/dataset_store.h"
#include "server/store/model_store.h"

namespace lfm2 {

// Both end with what the check says once it is not OK.
using TrainingPlanner =
    std::function<absl::StatusOr<TrainPlan>(const JobSpec&, PlanDepth, const StopCheck&)>;
// Probes with their values and all logits of a source that is not a served model (an uploaded
// export).
using SourceProber = std::function<absl::StatusOr<ParityReport>(
    const SourceSpec&, const std::vector<int32_t>& tokens, const StopCheck&)>;

struct ServiceContext {
  Engine& engine;
  ModelPool& models;
  ModelStore& model_store;
  DatasetStore& datasets;
  JobQueue* jobs;  // null: the job store could not be opened; Training answers kJobStoreCorrupt,
                   // serving goes on
  // Four, so that no call waits for another one's long work. On `executor`, what every call goes
  // through: work whose time the limits of a request bound, one chunk of a file, one batch of
  // events. On `loads`: models. On `long_work`: what takes as long as a dataset, a checkpoint or
  // a report is large (plans, probes of a source, comparisons); it asks a StopCheck as it goes, and
  // its queue is short. On `tokenizer_reads`: tokenizers that are not in memory.
  Executor& executor;
  Executor& loads;
  Executor& long_work;
  Executor& tokenizer_reads;
  TrainingPlanner plan;
  SourceProber probe;
  Clock& clock;
  Limits limits;
  std::string default_model;    // of requests that name none, loaded at the start; may be empty
  std::string train_device;     // of jobs that name none
  int64_t default_context = 0;  // of models whose config names none
  std::string hf_cache_root;
};

struct RpcOptions {
  std::string listen = "127.0.0.1:7070";  // host:port (port 0 picks one) or unix:PATH
  std::string tls_cert_file, tls_key_file;
  std::string tls_client_ca_file;  // mutual TLS when set
  std::string tokens_file;         // bearer tokens as SHA-256 with scopes; see server/rpc/auth.h
  bool insecure_i_know = false;    // allow a bind beyond loopback without TLS and tokens
  bool reflection = true;
};

struct RpcStats {
  int64_t open_calls = 0;
  int64_t open_streams = 0;
  bool serving = false;  // what health says of Generation
};

class RpcServer {
 public:
  // What Start would say of the options, without binding.
  static absl::Status Check(const RpcOptions& options);
  // kInsecureBind; kConfigInvalid for unreadable or mismatched TLS files and token files (a key or
  // token file that others may read is refused); kInvalidArgument for an address that cannot be
  // bound, kWrongState where another process has it.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const RpcOptions& options,
                                                          const ServiceContext& context);
  virtual ~RpcServer() = default;
  virtual std::string address() const = 0;  // as a client would name it
  virtual RpcStats stats() const = 0;       // any thread
  // Health of Generation and Training to NOT_SERVING at once, new calls are refused with kDraining;
  // open ones go on.
  virtual void BeginDrain() = 0;
  // Waits for open calls up to the time, then ends them.
  virtual void Shutdown(std::chrono::milliseconds timeout) = 0;
};

}  // namespace lfm2
