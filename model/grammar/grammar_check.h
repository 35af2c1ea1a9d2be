// Checks before a grammar is given to the library: its size, its encoding, how deep it is nested,
// and which parts of a schema the library would ignore. Thread rule: pure.
#pragma once

#include "absl/status/status.h"
#include "base/limits.h"
#include "model/grammar/grammar.h"

namespace lfm2 {

// kGrammarInvalid, saying what is wrong, with the value and the limit. A JSON schema must be a JSON
// object, true or false. In other grammars, brackets count outside quotes and character classes.
absl::Status CheckGrammar(const GrammarSource& source, const Limits& limits);

}  // namespace lfm2
