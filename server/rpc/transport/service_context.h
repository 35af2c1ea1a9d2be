// What every call works with. Thread rule: what it refers to is safe for any thread. Ownership:
// borrows all of it, which outlives the server.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/executor.h"
#include "base/limits.h"
#include "base/stop_check.h"
#include "model/parity/probe.h"
#include "server/engine/engine.h"
#include "server/engine/model_pool.h"
#include "server/jobs/queue/job_queue.h"
#include "server/jobs/wire/training_plan.h"
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

}  // namespace lfm2
