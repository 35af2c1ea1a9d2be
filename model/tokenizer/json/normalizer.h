// The "normalizer" of tokenizer.json: changes the text before it is split.
// Thread rule: const after making; all methods from many threads.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/json.h"

namespace lfm2 {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // `text` and the result are valid UTF-8.
  virtual absl::StatusOr<std::string> Normalize(std::string text) const = 0;
};

// NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, ByteLevel, Sequence. nullptr in,
// nullptr out: no normalizer. kTokenizerInvalid naming a type or key that is not known.
absl::StatusOr<std::unique_ptr<const Normalizer>> NormalizerFromJson(const Json* json);

}  // namespace lfm2
