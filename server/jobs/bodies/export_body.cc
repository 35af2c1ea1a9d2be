#include <system_error>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/export/export.h"
#include "model/tokenizer/load_tokenizer.h"
#include "server/jobs/bodies/bodies.h"
#include "server/jobs/bodies/start_model.h"
#include "server/jobs/wire/job_folder.h"
#include "server/jobs/worker/body_progress.h"

namespace lfm2 {
namespace {

absl::StatusOr<std::vector<ExportedFile>> RunExport(const Order& order, WorkerLink& link) {
  const JobSpec& spec = order.spec;
  const std::filesystem::path job_dir = order.job_dir;
  const DatasetPaths paths(order.dataset_paths.begin(), order.dataset_paths.end());
  LFM2_ASSIGN_OR_RETURN(const std::optional<ModelFolder> model,
                        OpenSource(spec.source, paths, job_dir / kSourceFolder));
  if (!model) return Error(Reason::kInvalidArgument, "an export needs a model");
  ExportRequest request;
  request.format = spec.export_format;
  request.destination = job_dir / kExportFolder;
  request.model_name = spec.model_name;
  const size_t at = spec.source.name.rfind('@');
  if (at != std::string::npos) request.model_version = spec.source.name.substr(at + 1);
  request.tokenizer_dir = model->tokenizer_dir;
  if (!model->tokenizer_dir.empty()) {
    LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                          LoadTokenizer(model->tokenizer_dir));
    request.tokenizer_sha256 = tokenizer->sha256();
  }
  std::error_code error;
  std::filesystem::remove_all(request.destination,
                              error);  // left by an attempt that died before it reported its end
  return ExportModel(*model, request, TensorProgress(link));
}

}  // namespace

WorkerResult ExportBody(const Order& order, WorkerLink& link) {
  WorkerResult result;
  absl::StatusOr<std::vector<ExportedFile>> files = RunExport(order, link);
  result.status = files.status();
  if (files.ok()) result.files = *std::move(files);
  return result;
}

}  // namespace lfm2
