#include "model/tokenizer/json/metaspace.h"

#include "base/status_macros.h"
#include "base/utf8.h"

namespace lfm2 {

absl::StatusOr<Metaspace> Metaspace::FromJson(const JsonFields& fields) {
  // str_rep is derived from replacement in files of old versions.
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys(
      {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}));
  Metaspace metaspace;
  LFM2_ASSIGN_OR_RETURN(metaspace.replacement, fields.String("replacement", metaspace.replacement));
  if (metaspace.replacement.empty() ||
      NextUtf8(metaspace.replacement).bytes != metaspace.replacement.size()) {
    return TokenizerError(fields.where(), "replacement must be one character");
  }
  LFM2_ASSIGN_OR_RETURN(metaspace.split, fields.Bool("split", true));
  LFM2_ASSIGN_OR_RETURN(const bool add_prefix_space, fields.Bool("add_prefix_space", true));
  LFM2_ASSIGN_OR_RETURN(const std::string scheme,
                        fields.String("prepend_scheme", add_prefix_space ? "always" : "never"));
  if (scheme == "always") {
    metaspace.prepend = Prepend::kAlways;
  } else if (scheme == "first") {
    metaspace.prepend = Prepend::kFirst;
  } else if (scheme == "never") {
    metaspace.prepend = Prepend::kNever;
  } else {
    return TokenizerError(fields.where(),
                          "prepend_scheme \"" + Shortened(scheme) + "\" is not known");
  }
  return metaspace;
}

std::string Metaspace::Replace(std::string_view text, bool at_start) const {
  std::string out;
  for (char c : text) {
    if (c == ' ') {
      out += replacement;
    } else {
      out += c;
    }
  }
  const bool wanted = prepend == Prepend::kAlways || (prepend == Prepend::kFirst && at_start);
  if (wanted && !out.empty() && !out.starts_with(replacement)) out.insert(0, replacement);
  return out;
}

}  // namespace lfm2
