// tokenizer.json with a BPE model, as the Rust `tokenizers` library runs it: added tokens,
// normalizer, pre-tokenizer, BPE, post-processor, decoder. Every key is known or refused by name,
// with two exceptions: "truncation" and "padding" are passed over, because how long a prompt may be
// is the caller's to say, and a prompt is never cut silently.
//
// A text whose character has no token, where the file has no unk_token, is refused; the reference
// drops the character. Thread rule: const after making; all methods from many threads.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/tokenizer/json/tokenizer_config.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// kTokenizerInvalid naming the part that is wrong.
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(std::string_view json_text,
                                                                  const TokenizerConfig& config);

}  // namespace lfm2
