#include "model/grammar/grammar_check.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/utf8.h"
#include "model/grammar/schema_check.h"

namespace lfm2 {
namespace {

absl::Status Invalid(const GrammarSource& source, std::string_view what, Metadata metadata = {}) {
  metadata["kind"] = GrammarKindName(source.kind);
  return Error(Reason::kGrammarInvalid,
               absl::StrCat(GrammarKindName(source.kind), " ", std::string(what)),
               std::move(metadata));
}

absl::Status OverLimit(const GrammarSource& source, int64_t value, const char* what,
                       int64_t limit) {
  return Invalid(source, absl::StrCat("has ", value, " ", what, ", limit ", limit),
                 {{what, std::to_string(value)}, {"limit", std::to_string(limit)}});
}

// The deepest nesting of brackets. Inside a quote or class, which ends at `closer`, brackets do not
// count.
int64_t DepthOf(const GrammarSource& source) {
  const bool is_ebnf = source.kind == GrammarKind::kEbnf;
  int64_t depth = 0, deepest = 0;
  char closer = 0;
  for (size_t i = 0; i < source.text.size(); ++i) {
    const char c = source.text[i];
    if (c == '\\') {
      ++i;
    } else if (closer != 0) {
      if (c == closer) closer = 0;
    } else if (c == '[') {
      closer = ']';
    } else if (is_ebnf && c == '"') {
      closer = '"';
    } else if (is_ebnf && c == '#') {
      closer = '\n';
    } else if (c == '(' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ')' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

absl::Status CheckSchema(const GrammarSource& source, const Limits& limits) {
  const absl::StatusOr<Json> json =
      ParseJson(source.text, {.bytes = limits.grammar_bytes, .depth = limits.grammar_depth});
  if (!json.ok()) {
    return Invalid(source, absl::StrCat("is not JSON: ",
                                        absl::StripPrefix(json.status().message(), "JSON: ")));
  }
  if (!json->is_object() && !json->is_boolean()) {
    return Invalid(source, "must be an object, true or false");
  }
  const std::string wrong = NotEnforced(*json);
  if (wrong.empty()) return absl::OkStatus();
  return Invalid(source, absl::StrCat("cannot be enforced: ", wrong));
}

}  // namespace

absl::Status CheckGrammar(const GrammarSource& source, const Limits& limits) {
  const auto bytes = static_cast<int64_t>(source.text.size());
  if (bytes == 0) return Invalid(source, "is empty");
  if (bytes > limits.grammar_bytes) return OverLimit(source, bytes, "bytes", limits.grammar_bytes);
  if (!CheckUtf8(source.text).ok()) return Invalid(source, "is not valid UTF-8");
  if (source.text.find('\0') != std::string::npos) return Invalid(source, "has a zero byte");
  if (source.kind == GrammarKind::kJsonSchema) return CheckSchema(source, limits);
  const int64_t depth = DepthOf(source);
  if (depth <= limits.grammar_depth) return absl::OkStatus();
  return OverLimit(source, depth, "levels of brackets", limits.grammar_depth);
}

}  // namespace lfm2
