// The library's compiled grammar, which grammar.h keeps private. Only sources of this folder may
// include it.
#pragma once

#include "model/grammar/grammar.h"
#include "model/grammar/xgrammar_library.h"

namespace lfm2 {

struct Grammar::Compiled {
  const XgrammarLibrary& library;
  XgrammarValue object;
  // The grammar of any JSON, which the text must match too: the library's rules for a schema's
  // lengths, patterns and formats allow raw control characters and quotes in strings. Null: no
  // second grammar.
  std::shared_ptr<const XgrammarValue> json;
};

}  // namespace lfm2
