// --tools: the functions that a model is told of. Thread rule: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lfm2/v1/generation.pb.h"

namespace lfm2 {

void AddToolsFlag(CLI::App& app, std::optional<std::string>& tools);

// A JSON list of objects, or the file that holds one: text that begins with [ is taken as it is.
// kFileNotFound, kMessageTooLarge, kInvalidArgument.
absl::Status SetTools(const std::optional<std::string>& tools, v1::ChatMessages& chat);

}  // namespace lfm2
