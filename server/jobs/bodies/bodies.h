// What a worker does for each kind of job, and the same checks for the daemon before it accepts
// one. No LibTorch here: the
// *_body.cc files see it, and nothing that it throws leaves them.
//
// Thread rule: synchronous. Work that is asked to stop ends at its next step (training, with a
// checkpoint) or at its next tensor (init, export: nothing of them is worth keeping).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/stop_check.h"
#include "model/parity/probe.h"
#include "server/jobs/wire/job.h"
#include "server/jobs/wire/training_plan.h"
#include "server/jobs/wire/worker_message.h"
#include "server/jobs/worker/worker_link.h"

namespace lfm2 {

// The body of the order's kind; lfm2-worker's whole work.
WorkerResult RunJob(const Order& order, WorkerLink& link);

// The model that training starts from is the source's own folder when that is a whole stored model
// of this shape, else made once in job_dir/init. Leaves the finished model in job_dir/result.
WorkerResult TrainBody(const Order& order, WorkerLink& link);
WorkerResult InitBody(const Order& order, WorkerLink& link);    // leaves job_dir/result
WorkerResult ExportBody(const Order& order, WorkerLink& link);  // leaves job_dir/export

// Where the daemon's own work finds datasets (the DatasetStore's root), and the folder in which it
// makes one for its files, which it removes.
struct WorkFolders {
  std::string datasets, scratch;
};

// Everything that would make a training job fail and can be known before, and what the run would
// need. Asks `stop` for every piece of the dataset. Errors: those of the job itself, and
// kInsufficientDisk.
absl::StatusOr<TrainPlan> PlanTrainJob(const JobSpec& spec, PlanDepth depth,
                                       const WorkFolders& folders, const StopCheck& stop);

// One float32 pass on the CPU of a model that is not served, with all values and logits.
// kWeightsMismatch, kInvalidArgument for a token out of range.
absl::StatusOr<ParityReport> ProbeSource(const SourceSpec& source,
                                         const std::vector<int32_t>& tokens,
                                         const WorkFolders& folders, const StopCheck& stop);

}  // namespace lfm2
