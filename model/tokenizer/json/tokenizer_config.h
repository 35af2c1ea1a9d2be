// The files that accompany a tokenizer's own file: tokenizer_config.json, special_tokens_map.json,
// chat_template.jinja. Thread rule: plain data.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

struct TokenizerConfig {
  std::optional<std::string> bos_token, eos_token, pad_token;
  std::optional<bool> add_bos_token, add_eos_token;
  std::string chat_template;  // empty: none

  // All files are optional; one that exists must be valid. kTokenizerInvalid, naming file and key.
  static absl::StatusOr<TokenizerConfig> Read(const std::filesystem::path& directory);
  // Parses the text of tokenizer_config.json. Ignores keys that it does not need, which are for
  // transformers.
  static absl::StatusOr<TokenizerConfig> Parse(std::string_view json_text);
};

}  // namespace lfm2
