// Converts ids to UTF-8 text piece by piece. Never splits a character; an incomplete one at the end
// becomes U+FFFD. All pieces together equal Tokenizer::Decode of the whole. Thread rule: one
// thread.
#pragma once

#include <cstdint>
#include <string>

#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {}
  std::string Push(int32_t id);  // text that is complete now; may be empty
  std::string Flush();           // the rest
 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  bool first_ = true;
  std::string pending_;  // an incomplete character's bytes
};

}  // namespace lfm2
