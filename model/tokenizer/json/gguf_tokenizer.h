// The tokenizer that a GGUF file carries, as the two files that a Hugging Face folder would have,
// so that one reader checks both and a model made from it keeps them. Thread rule: pure.
//
// Read: tokenizer.ggml.model "gpt2" (byte-level BPE) with a tokenizer.ggml.pre of which the
// tokenizers of that name are known: "gpt-2", "smollm", "llama-bpe" (also "llama3", "llama-v3"),
// "lfm2", "qwen2". Source: llama.cpp's gguf-py constants for the keys and token types, its
// vocabulary loader for which names add a BOS by themselves; the tokenizer.json of GPT-2, SmolLM2,
// Llama 3, LFM2 and Qwen 2 for their pre-tokenizers.
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
