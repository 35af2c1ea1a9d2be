// The one table between our state-dict names and llama.cpp's, read both ways. model.md section 5.
// No LibTorch. Pure.
#pragma once

#include <optional>
#include <string>

#include "model/formats/config.h"

namespace lfm2 {

// nullopt for a name that the table does not have. LlamaCppName (export.h) is its inverse.
std::optional<std::string> NameFromLlamaCpp(const ModelConfig& config, const std::string& name);

}  // namespace lfm2
