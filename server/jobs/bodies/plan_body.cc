#include <stdlib.h>

#include <memory>
#include <system_error>
#include <utility>

#include "base/errors.h"
#include "base/file.h"
#include "base/file_kinds.h"
#include "base/format_bytes.h"
#include "base/status_macros.h"
#include "model/formats/dataset.h"
#include "model/torch/decoder.h"
#include "model/torch/parity.h"
#include "model/torch/weights.h"
#include "model/train/trainer.h"
#include "model/train/training_data.h"
#include "server/jobs/bodies/bodies.h"
#include "server/jobs/bodies/start_model.h"
#include "server/jobs/bodies/torch_guard.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFloatBytes = 4;
constexpr int64_t kEnoughRows = 4;  // enough for two training rows if half of them are held out

// A folder under the scratch folder; removed with the object.
class ScratchFolder {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchFolder>> Make(const fs::path& scratch) {
    std::error_code error;
    fs::create_directories(scratch, error);
    std::string pattern = (scratch / "plan-XXXXXX").string();
    if (error || mkdtemp(pattern.data()) == nullptr) {
      return Error(Reason::kStorageIoError, "a work folder cannot be made in data_dir");
    }
    return std::unique_ptr<ScratchFolder>(new ScratchFolder(pattern));
  }
  ~ScratchFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  explicit ScratchFolder(fs::path path) : path_(std::move(path)) {}
  const fs::path path_;
};

// True if the files hold at least `tokens` tokens. Does not read beyond them.
absl::StatusOr<bool> HoldsTokens(const TrainRun& run, int64_t tokens) {
  int64_t found = 0;
  for (size_t i = 0; i < run.dataset_files.size(); ++i) {
    LFM2_ASSIGN_OR_RETURN(
        const auto reader,
        DatasetReader::Open(run.dataset_files[i], DatasetFormatOf(run.dataset_names[i])));
    while (found < tokens) {
      LFM2_RETURN_IF_ERROR(CheckStop(run.stop));
      LFM2_ASSIGN_OR_RETURN(const std::optional<DocumentPiece> piece, reader->Next());
      if (!piece) break;
      LFM2_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                            run.tokenizer->Encode(piece->text, {.add_special = false}));
      found += static_cast<int64_t>(ids.size());
    }
  }
  return found >= tokens;
}

// A small dataset is checked completely, with the same rules as in a run.
absl::Status CheckData(const TrainRun& run, const ModelConfig& config) {
  LFM2_ASSIGN_OR_RETURN(const bool plenty, HoldsTokens(run, kEnoughRows * (run.spec.seq_len + 1)));
  if (plenty) return absl::OkStatus();
  return OpenTrainingData(run, config.vocab_size).status();
}

absl::Status CheckDisk(const TrainSpec& spec, const TrainPlan& plan, const fs::path& folder) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return Error(Reason::kStorageIoError, "reading the free disk: " + error.message());
  // One more checkpoint than is kept, because it is written before an old one is removed; then the
  // initial model and the trained one.
  const int64_t models = 2 * kFloatBytes * plan.parameters;
  const double needed =
      static_cast<double>(plan.checkpoint_bytes) * static_cast<double>(spec.keep_checkpoints + 1) +
      static_cast<double>(models);
  if (needed <= static_cast<double>(space.available)) return absl::OkStatus();
  return Error(Reason::kInsufficientDisk,
               "the run needs about " + FormatBytes(needed) + " of disk for " +
                   std::to_string(spec.keep_checkpoints + 1) + " checkpoints and the model; " +
                   FormatBytes(static_cast<double>(space.available)) + " are free");
}

absl::StatusOr<TrainRun> RunOf(const JobSpec& spec, const StartModel& start,
                               const DatasetPaths& paths, const fs::path& folder) {
  TrainRun run;
  run.spec = spec.train;
  run.tokenizer = start.tokenizer;
  run.tokenizer_dir = start.tokenizer_dir;
  run.job_dir = folder / "data";
  run.model_dir = folder / "model";
  for (const NamedFile& file : spec.datasets) {
    LFM2_ASSIGN_OR_RETURN(fs::path path, PathOfDataset(paths, file.dataset));
    run.dataset_files.push_back(std::move(path));
    run.dataset_names.push_back(file.name);
  }
  if (run.dataset_files.empty())
    return Error(Reason::kInvalidArgument, "a training job needs at least one dataset");
  return run;
}

// PlanTraining reads only the model's config.
absl::Status WriteConfig(const ModelConfig& config, const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return Error(Reason::kStorageIoError, "making a work folder: " + error.message());
  return WriteFileDurably(directory / kModelConfigFile, ModelConfigToJson(config));
}

TrainPlan PlanWithoutData(const TrainRun& run, const ModelConfig& config) {
  TrainPlan plan;
  plan.parameters = config.ParameterCount();
  plan.checkpoint_bytes = 3 * kFloatBytes * plan.parameters;
  plan.tokens_per_step = run.spec.batch_size * run.spec.grad_accumulation * run.spec.seq_len;
  return plan;
}

struct Place {
  DatasetPaths paths;
  fs::path folder;  // for temporary files
};

absl::StatusOr<TrainPlan> Plan(const JobSpec& spec, PlanDepth depth, const Place& place,
                               const StopCheck& stop) {
  const auto& [paths, folder] = place;
  LFM2_RETURN_IF_ERROR(CheckTrainSpec(spec.train));
  LFM2_ASSIGN_OR_RETURN(const StartModel start, ResolveStartModel(spec, paths, folder));
  LFM2_ASSIGN_OR_RETURN(TrainRun run, RunOf(spec, start, paths, folder));
  run.stop = stop;
  LFM2_RETURN_IF_ERROR(CheckDisk(spec.train, PlanWithoutData(run, start.config), folder));
  if (depth == PlanDepth::kRefusalsOnly) {
    LFM2_RETURN_IF_ERROR(CheckData(run, start.config));
    return PlanWithoutData(run, start.config);
  }
  LFM2_RETURN_IF_ERROR(WriteConfig(start.config, run.model_dir));
  return PlanTraining(run);
}

absl::Status CheckTokens(const std::vector<int32_t>& tokens, const ModelConfig& config) {
  for (const int32_t token : tokens) {
    if (token >= 0 && token < config.vocab_size) continue;
    return Error(Reason::kInvalidArgument, "token id " + std::to_string(token) +
                                               " is not below the vocabulary size " +
                                               std::to_string(config.vocab_size));
  }
  return absl::OkStatus();
}

absl::StatusOr<ParityReport> ProbeFolder(const ModelFolder& folder,
                                         const std::vector<int32_t>& tokens,
                                         const StopCheck& stop) {
  LFM2_ASSIGN_OR_RETURN(const ModelConfig config, folder.config
                                                      ? absl::StatusOr<ModelConfig>(*folder.config)
                                                      : PlanConfig(&folder, ConversionSpec{}));
  LFM2_RETURN_IF_ERROR(CheckWeights(config, folder.weights));
  LFM2_RETURN_IF_ERROR(CheckTokens(tokens, config));
  LFM2_RETURN_IF_ERROR(CheckStop(stop));
  LFM2_ASSIGN_OR_RETURN(const auto weights,
                        Weights::FromArchive(config, folder.weights, at::kCPU, at::kFloat));
  const c10::InferenceMode inference;
  return RunParity(Decoder(config, weights), tokens, /*keep_values=*/true, stop);
}

}  // namespace

absl::StatusOr<TrainPlan> PlanTrainJob(const JobSpec& spec, PlanDepth depth,
                                       const WorkFolders& folders, const StopCheck& stop) {
  return GuardTorch([&]() -> absl::StatusOr<TrainPlan> {
    LFM2_ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> folder,
                          ScratchFolder::Make(folders.scratch));
    return Plan(spec, depth, {DatasetPathsUnder(folders.datasets, spec), folder->path()}, stop);
  });
}

absl::StatusOr<ParityReport> ProbeSource(const SourceSpec& source,
                                         const std::vector<int32_t>& tokens,
                                         const WorkFolders& folders, const StopCheck& stop) {
  return GuardTorch([&]() -> absl::StatusOr<ParityReport> {
    JobSpec spec;
    spec.source = source;
    const DatasetPaths paths = DatasetPathsUnder(folders.datasets, spec);
    LFM2_ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> folder,
                          ScratchFolder::Make(folders.scratch));
    LFM2_ASSIGN_OR_RETURN(const std::optional<ModelFolder> model,
                          OpenSource(source, paths, folder->path() / "source"));
    if (!model) return Error(Reason::kInvalidArgument, "a model to compare with is required");
    return ProbeFolder(*model, tokens, stop);
  });
}

}  // namespace lfm2
