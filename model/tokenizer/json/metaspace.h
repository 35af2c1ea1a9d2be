// "Metaspace" of tokenizer.json: replaces spaces by a visible character and puts it before a text's
// first word. Thread rule: plain data.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {

struct Metaspace {
  enum class Prepend { kAlways, kFirst, kNever };

  std::string replacement = "\xE2\x96\x81";  // one character, "▁"
  Prepend prepend = Prepend::kAlways;
  bool split = true;

  // kTokenizerInvalid.
  static absl::StatusOr<Metaspace> FromJson(const JsonFields& fields);

  std::string Replace(std::string_view text, bool at_start) const;
};

}  // namespace lfm2
