// What model a GGUF holds: its config, and its tensors under our names. Thread rule: pure.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/formats/gguf.h"

namespace lfm2 {

// Config and Hugging Face's tensor names of a file whose general.architecture is "lfm2" or "llama";
// lfm2's conv weights get their middle dimension back, the rows of llama's q and k transformers'
// order. Changes `file.weights` in place. kUnsupported for another architecture, kModelFileInvalid
// for a tensor with no known name, kConfigInvalid for metadata that make no config.
absl::StatusOr<ModelConfig> ModelFromGguf(std::string_view file_name, GgufFile& file);

}  // namespace lfm2
