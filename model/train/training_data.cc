#include "model/train/training_data.h"

#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

absl::StatusOr<std::vector<DatasetFile>> FilesOf(const TrainRun& run) {
  if (run.dataset_files.empty() || run.dataset_files.size() != run.dataset_names.size()) {
    return Error(
        Reason::kInvalidArgument,
        absl::StrCat("a run needs at least one dataset file, each with its name; it has ",
                     run.dataset_files.size(), " files and ", run.dataset_names.size(), " names"));
  }
  std::vector<DatasetFile> files;
  for (size_t i = 0; i < run.dataset_files.size(); ++i) {
    files.push_back({run.dataset_files[i], run.dataset_names[i]});
  }
  return files;
}

}  // namespace

absl::StatusOr<TrainingData> OpenTrainingData(const TrainRun& run, int64_t vocab_size) {
  if (run.tokenizer == nullptr) {
    return Error(Reason::kInvalidArgument, "a run needs a tokenizer");
  }
  if (run.tokenizer->vocab_size() > vocab_size) {
    return Error(
        Reason::kTokenizerMismatch,
        absl::StrCat("the ", run.tokenizer->kind(), " tokenizer has ", run.tokenizer->vocab_size(),
                     " ids, but the model's vocabulary has ", vocab_size),
        {{"tokenizer", absl::StrCat(run.tokenizer->vocab_size())},
         {"model", absl::StrCat(vocab_size)},
         {"tokenizer_sha256", run.tokenizer->sha256()}});
  }
  LFM2_ASSIGN_OR_RETURN(const std::vector<DatasetFile> files, FilesOf(run));
  std::error_code error;
  std::filesystem::create_directories(run.job_dir, error);
  if (error) return Error(Reason::kStorageIoError, absl::StrCat("job folder: ", error.message()));
  LFM2_ASSIGN_OR_RETURN(
      TokenStoreResult tokens,
      OpenOrBuildTokenStore(files, *run.tokenizer, run.job_dir / "tokens.bin", run.stop));
  if (tokens.store.max_id() >= vocab_size) {
    return Error(Reason::kTokenizerMismatch,
                 absl::StrCat("the dataset has token id ", tokens.store.max_id(),
                              ", but the model's vocabulary size is ", vocab_size));
  }
  LFM2_ASSIGN_OR_RETURN(
      RowPacker rows,
      RowPacker::Create(tokens.store.tokens(), tokens.store.document_ends(), run.spec.seq_len,
                        run.spec.eval_ratio, static_cast<uint64_t>(run.spec.seed)));
  return TrainingData{std::move(tokens), std::move(rows)};
}

}  // namespace lfm2
