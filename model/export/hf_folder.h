// Writes the files of a Hugging Face model folder into a directory that the caller creates aside
// and publishes. Thread rule: synchronous. Memory: one tensor at a time.
#pragma once

#include <filesystem>
#include <span>

#include "absl/status/status.h"
#include "model/arch/config.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct HfFolderContent {
  const ModelConfig& config;
  std::span<const TensorView> tensors;
  std::filesystem::path tokenizer_dir;  // its files are copied; empty: no tokenizer
  // A GGUF file that holds `tensors`: copied as model.gguf instead of writing them, because
  // safetensors does not have block types. Empty: the tensors are written.
  std::filesystem::path gguf = {};
};

// config.json, model.safetensors (or model.gguf) and the tokenizer's files, each fsynced.
// kDiskFull, kStorageIoError.
absl::Status WriteHfFolder(const HfFolderContent& content, const std::filesystem::path& directory);

}  // namespace lfm2
