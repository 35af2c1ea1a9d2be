// Converts the tokenizer in a GGUF file to the two files of a Hugging Face folder, so that the same
// reader checks both and a model made from the GGUF can store them. Thread rule: pure.
//
// Supported: tokenizer.ggml.model "gpt2" (byte-level BPE) with one of these tokenizer.ggml.pre:
// "gpt-2", "smollm", "llama-bpe" (also "llama3", "llama-v3"), "lfm2", "qwen2". Source: llama.cpp's
// gguf-py constants for the keys and token types, its vocabulary loader for which names add a BOS
// by themselves; the tokenizer.json of GPT-2, SmolLM2, Llama 3, LFM2 and Qwen 2 for their
// pre-tokenizers.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "model/formats/gguf.h"

namespace lfm2 {

struct TokenizerFiles {
  std::string tokenizer_json;
  std::string tokenizer_config_json;  // special tokens and the chat template
};

// kTokenizerInvalid naming the key and its value.
absl::StatusOr<TokenizerFiles> TokenizerFilesFromGguf(const GgufFile& file);

}  // namespace lfm2
