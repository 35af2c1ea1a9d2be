// The "pre_tokenizer" of tokenizer.json: splits text into the pieces that BPE encodes one by one.
// Thread rule: const after making; all methods from many threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"

namespace lfm2 {

struct Piece {
  std::string text;       // valid UTF-8, not empty
  bool at_start = false;  // starts at the start of the whole input
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual absl::StatusOr<std::vector<Piece>> Split(std::vector<Piece> pieces) const = 0;
};

// Split, ByteLevel, Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit,
// Metaspace, Sequence. nullptr in, nullptr out: the text is one piece. kTokenizerInvalid naming a
// type, key or behaviour that is not known.
absl::StatusOr<std::unique_ptr<const PreTokenizer>> PreTokenizerFromJson(const Json* json);

}  // namespace lfm2
