// Loads tokenizers from files. Thread rule: synchronous, any thread.
#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

// A folder with tokenizer.json or tokenizer.model (and tokenizer_config.json, chat_template.jinja
// if they exist), or one such file, or a GGUF that contains its tokenizer (then sha256 is that of
// the tokenizer.json made from it). A folder with neither, but with the marker file
// "bytes_tokenizer.json", gives the byte tokenizer. kTokenizerInvalid, naming the wrong or unknown
// part; kFileNotFound.
absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(const std::filesystem::path& path);

// Copies the files that LoadTokenizer would read into `directory`. For the byte tokenizer, writes
// its marker file; for a GGUF, the tokenizer.json and tokenizer_config.json made from it.
absl::Status CopyTokenizerFiles(const std::filesystem::path& source,
                                const std::filesystem::path& directory);

}  // namespace lfm2
