// --tools: the functions that are described to the model. Thread rule: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lfm2/v1/generation.pb.h"

namespace lfm2 {

void AddToolsFlag(CLI::App& app, std::optional<std::string>& tools);

// A JSON list of objects, or a file that contains one: text that begins with [ is the list itself.
// kFileNotFound, kMessageTooLarge, kInvalidArgument.
absl::Status SetTools(const std::optional<std::string>& tools, v1::ChatMessages& chat);

}  // namespace lfm2
