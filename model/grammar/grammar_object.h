// What grammar.h keeps private: the library's compiled grammar. Included by this folder's sources
// only.
#pragma once

#include "model/grammar/grammar.h"
#include "model/grammar/xgrammar_library.h"

namespace lfm2 {

struct Grammar::Compiled {
  const XgrammarLibrary& library;
  XgrammarValue object;
};

}  // namespace lfm2
