// What is looked at before a grammar goes to the library: its size, its encoding, how deep it is
// nested and what of a schema the library would pass over. Thread rule: pure.
#pragma once

#include "absl/status/status.h"
#include "base/limits.h"
#include "model/grammar/grammar.h"

namespace lfm2 {

// kGrammarInvalid saying what is wrong, with the value and the limit. A JSON schema must be JSON,
// and an object, true or false; brackets of the others are counted outside of quotes and classes.
absl::Status CheckGrammar(const GrammarSource& source, const Limits& limits);

}  // namespace lfm2
