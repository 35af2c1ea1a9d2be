// Chooses the tokenizer for a loaded model. Thread rule: pure.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// Loads the tokenizer in `directory`. If `directory` is empty (the model's folder has no
// tokenizer), uses the byte tokenizer if the vocabulary has at least its 259 ids, or, if it has
// exactly 256, bytes only, without pad, bos and eos. kTokenizerMismatch with both sizes if the
// tokenizer has ids beyond the vocabulary; kFileNotFound if neither of the byte tokenizers fits;
// errors of LoadTokenizer.
absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerForModel(
    const std::filesystem::path& directory, int64_t vocab_size);

}  // namespace lfm2
