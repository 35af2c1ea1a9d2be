// tokenizer.json with a BPE model, as the Rust `tokenizers` library runs it: added tokens,
// normalizer, pre-tokenizer, BPE, post-processor, decoder. Unknown keys are refused by name, with
// two exceptions: "truncation" and "padding" are ignored, because the caller decides how long a
// prompt may be, and a prompt is never cut silently.
//
// A text with a character that has no token is refused if the file has no unk_token; the reference
// drops the character. Thread rule: const after making; all methods from many threads.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/tokenizer/json/tokenizer_config.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// kTokenizerInvalid, naming the wrong part.
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(std::string_view json_text,
                                                                  const TokenizerConfig& config);

}  // namespace lfm2
