// The "post_processor" of tokenizer.json, for one sequence: the ids put before and after it.
// Thread rule: plain data.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"

namespace lfm2 {

struct PostProcessor {
  bool says_specials = false;  // false: the file does not say whether BOS is added
  std::vector<int32_t> before, after;

  // TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (offsets only), Sequence.
  // kTokenizerInvalid.
  static absl::StatusOr<PostProcessor> FromJson(const Json* json);
};

}  // namespace lfm2
