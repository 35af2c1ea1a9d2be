// GGUF, versions 2 and 3, little-endian: metadata and the tensors that are not quantised (F32, F16,
// BF16). Every length and offset is checked against the file before anything is allocated for it.
// Sources: ggml's docs/gguf.md for the layout; llama.cpp's gguf-py constants for the lfm2 names.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/formats/config.h"
#include "model/formats/json.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct GgufFile {
  std::map<std::string, Json> metadata;  // strings are bytes, not necessarily UTF-8
  TensorArchive weights;  // GGUF's names; shapes row-major, that is ggml's order reversed
};

// kModelFileInvalid; kUnsupported for a quantised tensor, with its type's name and those that are
// read.
absl::StatusOr<GgufFile> ReadGguf(const std::filesystem::path& path);
absl::StatusOr<GgufFile> ParseGguf(std::string_view file_name, std::span<const std::byte> bytes);

// Config and Hugging Face's tensor names of a file whose general.architecture is "lfm2"; the conv
// weights get their middle dimension back. Renames in place. kUnsupported for another architecture,
// kModelFileInvalid for a tensor with no known name, kConfigInvalid for metadata that make no
// config.
absl::StatusOr<ModelConfig> Lfm2FromGguf(std::string_view file_name, GgufFile& file);

}  // namespace lfm2
