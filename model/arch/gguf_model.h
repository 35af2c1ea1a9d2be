// Reads the model in a GGUF: its config, and its tensors under our names. Thread rule: pure.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/formats/gguf.h"

namespace lfm2 {

// Returns the config of a file whose general.architecture is "lfm2" or "llama", and changes
// `file.weights` in place: tensors get Hugging Face's names, lfm2's conv weights their middle
// dimension, and the rows of llama's q and k the order that transformers uses. kUnsupported for
// another architecture, kModelFileInvalid for a tensor with an unknown name, kConfigInvalid for
// metadata that do not give a valid config.
absl::StatusOr<ModelConfig> ModelFromGguf(std::string_view file_name, GgufFile& file);

}  // namespace lfm2
