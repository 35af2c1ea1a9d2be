// The tokens and rows of one run, created or reused in its folder.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "model/train/packing.h"
#include "model/train/token_store.h"
#include "model/train/trainer.h"

namespace lfm2 {

struct TrainingData {
  TokenStoreResult tokens;
  RowPacker rows;  // points into `tokens`
};

// Tokenizes into job_dir/tokens.bin unless that already holds this dataset. kTokenizerMismatch if
// the tokenizer has ids that are not less than the model's `vocab_size`; kNoSupervisedTokens,
// kDatasetInvalid, kDiskFull.
absl::StatusOr<TrainingData> OpenTrainingData(const TrainRun& run, int64_t vocab_size);

}  // namespace lfm2
