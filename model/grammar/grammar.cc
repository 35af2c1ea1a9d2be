#include "model/grammar/grammar.h"

#include <utility>

#include "model/grammar/grammar_object.h"

namespace lfm2 {

const char* GrammarKindName(GrammarKind kind) {
  switch (kind) {
    case GrammarKind::kJsonSchema:
      return "json_schema";
    case GrammarKind::kRegex:
      return "regex";
    case GrammarKind::kEbnf:
      return "ebnf";
  }
  return "";
}

Grammar::Grammar(std::unique_ptr<Compiled> compiled, std::shared_ptr<const TokenGuard> guard,
                 int64_t vocab_size, bool has_end)
    : compiled_(std::move(compiled)),
      guard_(std::move(guard)),
      vocab_size_(vocab_size),
      has_end_(has_end) {
  const XgrammarLibrary& library = compiled_->library;
  const auto bytes = library.Call(library.grammar_bytes, {&compiled_->object.view(), 1});
  if (bytes.ok()) bytes_ = bytes->integer();
}

Grammar::~Grammar() = default;

}  // namespace lfm2
