// What a worker does for each kind of job, and the checks that the daemon makes before it accepts
// one. No LibTorch here: only the *_body.cc files use it, and they catch its exceptions.
//
// Thread rule: synchronous. After a stop request, training ends at its next step, with a
// checkpoint; init and export end at their next tensor and keep nothing.
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

// Runs the body for the order's kind of job. This is all that lfm2-worker does.
WorkerResult RunJob(const Order& order, WorkerLink& link);

// Training starts from the source's own folder if that is a complete stored model of this shape,
// else from a model made once in job_dir/init. Writes the trained model to job_dir/result.
WorkerResult TrainBody(const Order& order, WorkerLink& link);
WorkerResult InitBody(const Order& order, WorkerLink& link);    // writes job_dir/result
WorkerResult ExportBody(const Order& order, WorkerLink& link);  // writes job_dir/export

// Folders for the daemon's own work: the datasets (DatasetStore's root), and the parent of its
// temporary folders, which it removes.
struct WorkFolders {
  std::string datasets, scratch;
};

// Checks for every error of a training job that can be found before it runs, and computes what the
// run would need. Calls `stop` for every piece of the dataset. Errors: those of the job itself, and
// kInsufficientDisk.
absl::StatusOr<TrainPlan> PlanTrainJob(const JobSpec& spec, PlanDepth depth,
                                       const WorkFolders& folders, const StopCheck& stop);

// Runs one float32 pass on the CPU with a model that is not being served; returns all values and
// logits. kWeightsMismatch, kInvalidArgument for a token out of range.
absl::StatusOr<ParityReport> ProbeSource(const SourceSpec& source,
                                         const std::vector<int32_t>& tokens,
                                         const WorkFolders& folders, const StopCheck& stop);

}  // namespace lfm2
