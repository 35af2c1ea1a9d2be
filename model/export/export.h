// Exports a model folder for other programs: NPZ + meta JSON, or safetensors as a Hugging Face
// folder. Files are written aside, read back, compared tensor by tensor, then renamed, so the
// destination does not exist or is complete and verified. Thread rule: synchronous. Memory: one
// tensor at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/model_folder.h"

namespace lfm2 {

enum class ExportFormat { kNpz, kSafetensors };

struct ExportedFile {
  std::string name;  // plain name inside the directory
  int64_t bytes = 0;
  std::string sha256;
};

struct ExportRequest {
  ExportFormat format = ExportFormat::kNpz;
  std::filesystem::path destination;  // directory that will hold the files; must not exist
  std::string model_name;             // for the meta JSON
  std::string model_version;
  std::string tokenizer_sha256;
  std::filesystem::path tokenizer_dir;  // its files are copied beside safetensors; may be empty
};

// NPZ: "model.npz" and "model.json" (config, model name and version, tokenizer hash, SHA-256 of the
// NPZ, and for each tensor its shape, dtype and llama.cpp name); bfloat16 becomes float32, since
// numpy does not have that type, and the meta JSON records it. safetensors: "config.json",
// "model.safetensors" and the tokenizer's files. Returns the files sorted by name. `progress`
// counts each tensor twice: when written and when compared. kExportMismatch naming the tensor if
// the data read back differ; kModelExists, kConfigInvalid, kWeightsMismatch, kDiskFull.
absl::StatusOr<std::vector<ExportedFile>> ExportModel(
    const ModelFolder& model, const ExportRequest& request,
    const std::function<void(int64_t, int64_t)>& progress);

}  // namespace lfm2
