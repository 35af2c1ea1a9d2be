#include <utility>

#include "server/jobs/bodies/bodies.h"
#include "server/jobs/bodies/start_model.h"
#include "server/jobs/wire/job_folder.h"
#include "server/jobs/worker/body_progress.h"

namespace lfm2 {

WorkerResult InitBody(const Order& order, WorkerLink& link) {
  WorkerResult result;
  const std::filesystem::path job_dir = order.job_dir;
  const DatasetPaths paths(order.dataset_paths.begin(), order.dataset_paths.end());
  absl::StatusOr<StartModel> start = ResolveStartModel(order.spec, paths, job_dir);
  if (!start.ok()) {
    result.status = start.status();
    return result;
  }
  absl::StatusOr<ConversionReport> report = MakeModel(
      *start, job_dir / kResultFolder, TensorProgress(link), [&link] { return link.MayPublish(); });
  if (!report.ok()) {
    result.status = report.status();
    return result;
  }
  link.Report(*std::move(report));
  if (start->tokenizer != nullptr) {
    result.tokenizer_sha256 = start->tokenizer->sha256();
    result.tokenizer_kind = start->tokenizer->kind();
  }
  return result;
}

}  // namespace lfm2
