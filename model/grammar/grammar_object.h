// What grammar.h keeps private: the library's compiled grammar. Included by this folder's sources
// only.
#pragma once

#include "model/grammar/grammar.h"
#include "model/grammar/xgrammar_library.h"

namespace lfm2 {

struct Grammar::Compiled {
  const XgrammarLibrary& library;
  XgrammarValue object;
  // JSON as such, where the text must be that too: what a schema's lengths, patterns and formats
  // become lets raw control characters and quotes into strings. Null: no second grammar.
  std::shared_ptr<const XgrammarValue> json;
};

}  // namespace lfm2
