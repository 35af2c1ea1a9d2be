#include <system_error>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/train/trainer.h"
#include "server/jobs/bodies/bodies.h"
#include "server/jobs/bodies/start_model.h"
#include "server/jobs/wire/job_folder.h"
#include "server/jobs/worker/body_progress.h"

namespace lfm2 {
namespace {

// The folder of the initial model. Reuses a model made by an earlier attempt, which is complete
// because it is renamed last.
absl::StatusOr<std::filesystem::path> ModelDirectory(const Order& order, const StartModel& start,
                                                     WorkerLink& link) {
  if (start.stored_as_it_is) return std::filesystem::path(order.spec.source.directory);
  const std::filesystem::path init = std::filesystem::path(order.job_dir) / kInitFolder;
  std::error_code error;
  if (std::filesystem::is_directory(init, error)) return init;
  LFM2_ASSIGN_OR_RETURN(ConversionReport report, MakeModel(start, init, TensorProgress(link),
                                                           [&link] { return link.MayPublish(); }));
  link.Report(std::move(report));
  return init;
}

absl::StatusOr<TrainResult> RunTraining(const Order& order, WorkerLink& link,
                                        WorkerResult& result) {
  const DatasetPaths paths(order.dataset_paths.begin(), order.dataset_paths.end());
  LFM2_ASSIGN_OR_RETURN(const StartModel start,
                        ResolveStartModel(order.spec, paths, order.job_dir));
  result.tokenizer_sha256 = start.tokenizer->sha256();
  result.tokenizer_kind = start.tokenizer->kind();
  TrainRun run;
  run.spec = order.spec.train;
  run.tokenizer = start.tokenizer;
  run.tokenizer_dir = start.tokenizer_dir;
  run.job_dir = order.job_dir;
  run.fencing_token = order.fencing_token;
  for (const NamedFile& file : order.spec.datasets) {
    LFM2_ASSIGN_OR_RETURN(std::filesystem::path path, PathOfDataset(paths, file.dataset));
    run.dataset_files.push_back(std::move(path));
    run.dataset_names.push_back(file.name);
  }
  LFM2_ASSIGN_OR_RETURN(run.model_dir, ModelDirectory(order, start, link));
  return Train(run, link);
}

}  // namespace

WorkerResult TrainBody(const Order& order, WorkerLink& link) {
  WorkerResult result;
  const absl::StatusOr<TrainResult> trained = RunTraining(order, link, result);
  if (trained.ok()) {
    result.stopped = trained->stopped;
  } else if (!link.MayPublish()) {
    // Not the job's fault: the next attempt continues from the last checkpoint.
    result.status = Error(Reason::kWorkerHung, std::string(trained.status().message()));
  } else {
    result.status = trained.status();
  }
  return result;
}

}  // namespace lfm2
