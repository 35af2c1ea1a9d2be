// The tokens and rows of one run, made or found in its folder.
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

// Tokenizes into job_dir/tokens.bin unless that holds this dataset already. kTokenizerMismatch when
// the tokenizer has ids that a model with `vocab_size` has no row for; kNoSupervisedTokens,
// kDatasetInvalid, kDiskFull.
absl::StatusOr<TrainingData> OpenTrainingData(const TrainRun& run, int64_t vocab_size);

}  // namespace lfm2
