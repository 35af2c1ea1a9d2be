// The one table between our state-dict names and llama.cpp's, read both ways. model.md section 5.
// No LibTorch. Pure.
#pragma once

#include <optional>
#include <string>

#include "model/arch/config.h"

namespace lfm2 {

// llama.cpp's name of a state-dict name, e.g. "blk.0.shortconv.in_proj.weight"; empty for a name
// that is not the model's.
std::string LlamaCppName(const ModelConfig& config, const std::string& name);

// The inverse. nullopt for a name that the table does not have.
std::optional<std::string> NameFromLlamaCpp(const ModelConfig& config, const std::string& name);

}  // namespace lfm2
