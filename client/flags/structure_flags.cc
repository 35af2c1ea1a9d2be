#include "client/flags/structure_flags.h"

#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "client/flags/flags.h"
#include "client/terminal/console.h"
#include "client/terminal/failure.h"

namespace lfm2 {
namespace {

bool IsSchemaText(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return true;
  return text[first] == '{' || text == "true" || text == "false";
}

}  // namespace

void AddStructureFlags(CLI::App& app, StructureInput& input) {
  const auto add = [&app](const char* name, const char* help, std::optional<std::string>& value) {
    TextFlag(app, name, help, [&value](const std::string& v) { value = v; })->group("Structure");
  };
  add("--json_schema", "The text is JSON of this schema: the schema, or a file", input.json_schema);
  add("--regex", "The text matches this regular expression", input.regex);
  add("--ebnf", "The text follows this grammar (GBNF, its rule root): the grammar, or a file",
      input.ebnf);
}

absl::Status SetStructure(const StructureInput& input, v1::GenerateRequest& request) {
  if (input.json_schema.has_value() + input.regex.has_value() + input.ebnf.has_value() > 1) {
    return UsageError("--json_schema, --regex and --ebnf exclude each other");
  }
  std::string text;
  if (input.json_schema) {
    text = *input.json_schema;
    if (!IsSchemaText(text)) {
      LFM2_ASSIGN_OR_RETURN(
          text, ReadFlagFile("--json_schema", *input.json_schema, kDefaultLimits.grammar_bytes));
    }
  } else if (input.ebnf) {
    text = *input.ebnf;
    if (text.find("::=") == std::string::npos) {
      LFM2_ASSIGN_OR_RETURN(text,
                            ReadFlagFile("--ebnf", *input.ebnf, kDefaultLimits.grammar_bytes));
    }
  } else if (input.regex) {
    text = *input.regex;
  }
  if (!IsValidUtf8(text)) return Error(Reason::kInvalidUtf8, "the grammar is not UTF-8");
  if (input.json_schema) request.set_json_schema(text);
  if (input.regex) request.set_regex(text);
  if (input.ebnf) request.set_ebnf(text);
  return absl::OkStatus();
}

}  // namespace lfm2
