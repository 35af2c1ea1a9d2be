// sentencepiece .model files. The library is linked into liblfm2_spm.so, which is opened when the
// first model is loaded. Thread rule: const after making; all methods from many threads.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/tokenizer/json/tokenizer_config.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// kTokenizerInvalid; kUnsupported when liblfm2_spm.so cannot be opened.
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencepieceTokenizer(
    std::string_view model_bytes, const TokenizerConfig& config);

}  // namespace lfm2
