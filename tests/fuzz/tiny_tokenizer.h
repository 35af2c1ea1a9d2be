// A byte-level BPE of the LFM2 kind, small enough to be made in a fuzz target without a file.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "base/json.h"
#include "model/tokenizer/json/bpe_tokenizer.h"
#include "model/tokenizer/json/byte_level.h"

namespace lfm2 {

inline std::shared_ptr<const Tokenizer> MakeTinyTokenizer() {
  Json json = *ParseJson(R"({"version": "1.0", "added_tokens": [], "normalizer": null,
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
         "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
      "post_processor": null, "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "ignore_merges": true, "vocab": {}, "merges": [["a", "a"], ["aa", "aa"], ["i", "m"], ["<", "|"]]}})");
  int32_t id = 0;
  for (const char* special : {"<|pad|>", "<|startoftext|>", "<|im_start|>", "<|im_end|>",
                              "<|tool_response_start|>", "<|tool_response_end|>"}) {
    json["model"]["vocab"][special] = id;
    json["added_tokens"].push_back(
        Json{{"id", id++}, {"content", special}, {"special", true}, {"normalized", false}});
  }
  for (int byte = 0; byte < 256; ++byte) {
    std::string token;
    AppendByteLevel(std::string(1, static_cast<char>(byte)), token);
    json["model"]["vocab"][token] = id++;
  }
  for (const char* merged : {"aa", "aaaa", "im", "<|"}) json["model"]["vocab"][merged] = id++;
  TokenizerConfig config;
  config.bos_token = "<|startoftext|>";
  auto tokenizer = MakeBpeTokenizer(json.dump(), config);
  if (!tokenizer.ok()) std::abort();
  return *tokenizer;
}

}  // namespace lfm2
