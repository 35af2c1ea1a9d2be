// The training loop: next batch, forward, backward, clip, step, report.
//
// Exactness: a checkpoint holds the complete state (weights, moments, step, data cursor, RNG), so a
// resumed run gives bit-identical results to an uninterrupted one (on the CPU, with a fixed number
// of threads). Thread rule: synchronous; one thread drives it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/stop_check.h"
#include "model/tokenizer/tokenizer.h"
#include "model/train/spec/train_spec.h"

namespace lfm2 {

struct TrainRun {
  TrainSpec spec;
  std::filesystem::path model_dir;  // the initial model, read by OpenModelFolder
  std::vector<std::filesystem::path> dataset_files;
  std::vector<std::string>
      dataset_names;  // file names as uploaded, for the format and for messages
  std::shared_ptr<const Tokenizer> tokenizer;
  std::filesystem::path tokenizer_dir;  // its files, copied into the result
  std::filesystem::path job_dir;        // checkpoints, metrics.jsonl, tokens.bin
  int64_t fencing_token = 1;            // in every checkpoint's name
  StopCheck stop;                       // called while the dataset is read
};

struct TrainResult {
  int64_t steps = 0;
  bool stopped = false;  // ended by StopRequested(); the last checkpoint is kept
  double final_loss = 0;
  std::string last_checkpoint;      // directory name inside job_dir
  std::filesystem::path model_dir;  // trained model as a Hugging Face folder in job_dir
                                    // ("result"); empty when stopped
};

// Runs to the end, to a stop request, or to an error: kTrainingDiverged, kCheckpointDiskFull,
// kNoSupervisedTokens, kTokenizerMismatch (vocabulary larger than the model's), kOutOfMemory.
// Resumes from the newest valid checkpoint in job_dir if there is one.
absl::StatusOr<TrainResult> Train(const TrainRun& run, TrainReporter& reporter);

// Computes the numbers of a TrainPlan without running the training.
absl::StatusOr<TrainPlan> PlanTraining(const TrainRun& run);

}  // namespace lfm2
