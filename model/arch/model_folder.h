// Opens whatever holds a model: a Hugging Face folder, or one weights file (.safetensors, .npz,
// .pt/.pth/.bin, .gguf).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct ModelFolder {
  std::optional<ModelConfig> config;  // a bare weights file has none, except GGUF, which carries it
  TensorArchive weights;
  // Folder that holds tokenizer files, or the GGUF that carries a tokenizer; empty when there is
  // none.
  std::filesystem::path tokenizer_dir;
  std::filesystem::path weights_file;
  std::string format;  // "safetensors", "npz", "pt", "gguf"
};

// Folder: config.json, generation_config.json (eos list), model.safetensors or its index, else
// *.npz, else *.pt, else one *.gguf, which needs no config.json. A tokenizer.json beside a GGUF
// goes before the tokenizer in it. kFileNotFound, kModelFileInvalid, kConfigInvalid.
absl::StatusOr<ModelFolder> OpenModelFolder(const std::filesystem::path& path);
// The config alone, of config.json: for plans and listings.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& directory);

// Every tensor of the config's list is present with its shape and nothing else is: kWeightsMismatch
// naming the first 20 tensors with both shapes.
absl::Status CheckWeights(const ModelConfig& config, const TensorArchive& weights);

}  // namespace lfm2
