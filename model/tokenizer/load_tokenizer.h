// Tokenizers out of files. Thread rule: synchronous, any thread.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// A folder with tokenizer.json or tokenizer.model (and tokenizer_config.json, chat_template.jinja
// when there), or one such file, or a GGUF that carries its tokenizer (then sha256 is of the
// tokenizer.json made of it). A folder with neither but a bytes marker file
// "bytes_tokenizer.json" gives the byte tokenizer. kTokenizerInvalid naming the part that is wrong
// or unknown, kFileNotFound.
absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(const std::filesystem::path& path);

// Copies the files LoadTokenizer would read into `directory` (for the byte tokenizer: writes its
// marker file; for a GGUF: the tokenizer.json and tokenizer_config.json made of it).
absl::Status CopyTokenizerFiles(const std::filesystem::path& source,
                                const std::filesystem::path& directory);

}  // namespace lfm2
