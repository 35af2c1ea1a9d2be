// GGUF, versions 2 and 3, little-endian: metadata and tensors of the types F32, F16, BF16, Q8_0,
// Q4_0 and Q4_1. Tensor data are not copied from the file. Every length and offset is checked
// against the file before anything is allocated for it. Sources: ggml's docs/gguf.md for the
// layout; llama.cpp's gguf-py constants for the names of tensors and keys.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct GgufFile {
  std::map<std::string, Json> metadata;  // strings are bytes, not necessarily UTF-8
  TensorArchive weights;  // GGUF's names; shapes row-major, that is ggml's order reversed
};

// kModelFileInvalid; kUnsupported for a tensor of another type, naming the tensor and the supported
// types.
absl::StatusOr<GgufFile> ReadGguf(const std::filesystem::path& path);
absl::StatusOr<GgufFile> ParseGguf(std::string_view file_name, std::span<const std::byte> bytes);

}  // namespace lfm2
