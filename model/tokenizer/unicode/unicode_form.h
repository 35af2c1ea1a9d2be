// Unicode's normalization forms as the reference computes them: with the tables of Unicode 9.
// Source: UAX #15; utf8proc does the work. Thread rule: pure.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` is valid UTF-8. kInvalidArgument when the library refuses it (out of memory).
absl::StatusOr<std::string> ToUnicodeForm(std::string_view text, UnicodeForm form);

}  // namespace lfm2
