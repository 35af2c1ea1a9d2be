// The tokenizer that a loaded model is served with. Thread rule: pure.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// That of `directory`. Where it is empty (the model's folder has no tokenizer), bytes: the byte
// tokenizer when the vocabulary has room for its 259 ids, and when it has exactly 256, bytes alone,
// without pad, bos and eos. kTokenizerMismatch with both sizes when a token has no row in the
// vocabulary; kFileNotFound when no tokenizer can be meant; errors of LoadTokenizer.
absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerForModel(
    const std::filesystem::path& directory, int64_t vocab_size);

}  // namespace lfm2
