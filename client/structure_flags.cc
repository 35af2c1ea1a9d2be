#include "client/structure_flags.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "client/console.h"
#include "client/failure.h"
#include "client/flags.h"
#include "model/core/errors.h"
#include "model/core/limits.h"
#include "model/core/status_macros.h"

namespace lfm2 {
namespace {

bool IsSchemaText(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return true;
  return text[first] == '{' || text == "true" || text == "false";
}

absl::StatusOr<std::string> ReadGrammarFile(const char* flag, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  if (!in || std::filesystem::is_directory(path, error)) {
    return Error(Reason::kFileNotFound, absl::StrCat(flag, ": there is no file ", path));
  }
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (static_cast<int64_t>(text.size()) <= kDefaultLimits.grammar_bytes) return text;
  return Error(Reason::kMessageTooLarge,
               absl::StrCat(flag, ": ", path, " has ", text.size(), " bytes, limit ",
                            kDefaultLimits.grammar_bytes));
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
      LFM2_ASSIGN_OR_RETURN(text, ReadGrammarFile("--json_schema", *input.json_schema));
    }
  } else if (input.ebnf) {
    text = *input.ebnf;
    if (text.find("::=") == std::string::npos) {
      LFM2_ASSIGN_OR_RETURN(text, ReadGrammarFile("--ebnf", *input.ebnf));
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
