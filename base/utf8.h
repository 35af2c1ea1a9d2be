// Reads and writes UTF-8 one code point at a time, and replaces invalid bytes by U+FFFD.
// Thread rule: all functions are pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lfm2 {

enum class Utf8Kind {
  kValid,       // a whole character
  kInvalid,     // bytes that no character starts with
  kIncomplete,  // the text ends inside a character that is valid so far
};

struct Utf8Step {
  Utf8Kind kind;
  char32_t code_point;  // kValid only
  size_t bytes;  // of the character, or of the maximal subpart (Unicode 3.9, table 3-7) to replace
};

// Decodes the first character of `text`, which must not be empty.
Utf8Step NextUtf8(std::string_view text);

void AppendUtf8(char32_t code_point, std::string& out);

// kInvalidUtf8 with the offset of the first wrong byte.
absl::Status CheckUtf8(std::string_view text);

// How much of the input one U+FFFD replaces.
enum class Utf8Replacement {
  kMaximalSubpart,  // as the Unicode standard recommends and Rust's from_utf8_lossy does
  kEachByte,        // as sentencepiece does, and tokenizers' ByteFallback
};

enum class Utf8End { kMayContinue, kFinal };

// Appends `bytes` to `out` with invalid parts replaced; returns how many bytes were used. With
// kMayContinue, an incomplete character at the end is not consumed.
size_t AppendReplacingInvalid(std::string_view bytes, Utf8Replacement replacement, Utf8End end,
                              std::string& out);

}  // namespace lfm2
