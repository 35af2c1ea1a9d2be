// Translates a regular expression from Oniguruma's (Ruby) syntax, which tokenizer.json uses, to
// PCRE2's syntax, so that it matches the same texts. Differences are rewritten (\s, \w, \v, \uHHHH,
// scripts, possessive intervals) or refused by name. Source: Oniguruma doc/RE and
// doc/SYNTAX.md; pcre2pattern(3), for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE. Thread rule: pure.
//
// Why not the Oniguruma library: its repository was archived in April 2025 and Debian has the
// version of 2022, so bugs that a hostile pattern could exploit are not fixed. PCRE2 is maintained.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

// kInvalidArgument naming the construct and its offset.
absl::StatusOr<std::string> OnigurumaToPcre2(std::string_view pattern);

}  // namespace lfm2
