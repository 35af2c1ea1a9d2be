// Opens a model: a Hugging Face folder, or one weights file (.safetensors, .npz, .pt/.pth/.bin,
// .gguf).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct ModelFolder {
  std::optional<ModelConfig> config;  // absent for a bare weights file that is not a GGUF
  TensorArchive weights;
  // Folder with tokenizer files, or a GGUF that contains a tokenizer; empty if there is no
  // tokenizer.
  std::filesystem::path tokenizer_dir;
  std::filesystem::path weights_file;
  std::string format;  // "safetensors", "npz", "pt", "gguf"
};

// Reads from a folder: config.json, generation_config.json (eos list), and model.safetensors or its
// index, else *.npz, else *.pt, else one *.gguf, which does not need a config.json. A
// tokenizer.json beside a GGUF is used instead of the GGUF's own tokenizer. kFileNotFound,
// kModelFileInvalid, kConfigInvalid.
absl::StatusOr<ModelFolder> OpenModelFolder(const std::filesystem::path& path);
// Reads only config.json; for plans and listings.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& directory);

// Checks that the archive has exactly the config's tensors with their shapes. kWeightsMismatch
// naming the first 20 wrong tensors with both shapes.
absl::Status CheckWeights(const ModelConfig& config, const TensorArchive& weights);

}  // namespace lfm2
