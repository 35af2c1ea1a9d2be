// The objects that every call uses. Thread rule: they are safe for any thread. Ownership: borrows
// all of them; they outlive the server.
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

// Both stop when the check is not OK, and return its status.
using TrainingPlanner =
    std::function<absl::StatusOr<TrainPlan>(const JobSpec&, PlanDepth, const StopCheck&)>;
// Computes probes with their values and all logits of a source that is not a served model, such as
// an uploaded export.
using SourceProber = std::function<absl::StatusOr<ParityReport>(
    const SourceSpec&, const std::vector<int32_t>& tokens, const StopCheck&)>;

struct ServiceContext {
  Engine& engine;
  ModelPool& models;
  ModelStore& model_store;
  DatasetStore& datasets;
  JobQueue* jobs;  // null: the job store could not be opened; Training answers kJobStoreCorrupt,
                   // Generation still works
  // Four executors, so that no call waits for the long work of another. `executor`: work of every
  // call whose time is bounded by the limits of a request, one chunk of a file, one batch of
  // events. `loads`: loading models. `long_work`: work whose time grows with a dataset, a
  // checkpoint or a report (plans, probes of a source, comparisons); it calls a StopCheck regularly
  // and its queue is short. `tokenizer_reads`: reading tokenizers that are not in memory.
  Executor& executor;
  Executor& loads;
  Executor& long_work;
  Executor& tokenizer_reads;
  TrainingPlanner plan;
  SourceProber probe;
  Clock& clock;
  Limits limits;
  std::string
      default_model;         // for requests that do not name one; loaded at the start; may be empty
  std::string train_device;  // for jobs that do not name one
  int64_t default_context = 0;  // for models whose config does not give one
  std::string hf_cache_root;
};

}  // namespace lfm2
