// --json_schema, --regex and --ebnf: what generated text must follow. Thread rule: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lfm2/v1/generation.pb.h"

namespace lfm2 {

struct StructureInput {
  std::optional<std::string> json_schema, regex, ebnf;  // as given
};

void AddStructureFlags(CLI::App& app, StructureInput& input);

// At most one may be given. A schema or grammar may also be the name of a file: text that begins
// with { or is true or false is a schema, text that contains ::= is a grammar. kFileNotFound,
// kMessageTooLarge.
absl::Status SetStructure(const StructureInput& input, v1::GenerateRequest& request);

}  // namespace lfm2
