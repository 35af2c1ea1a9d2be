// The safetensors container: one file, or shards named by model.safetensors.index.json. Format: u64
// header length, JSON header, data. Checked before use: header size, number of tensors, duplicate
// names, dtype x shape == range, ranges that cover the data exactly (no gap, no overlap).
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

// `path` may be a .safetensors file or an .index.json. kModelFileInvalid{file, offset, rule}.
absl::StatusOr<TensorArchive> ReadSafetensors(const std::filesystem::path& path);
// Parses one file that is already in memory; the fuzz target calls this.
absl::StatusOr<TensorArchive> ParseSafetensors(std::string_view file_name,
                                               std::span<const std::byte> bytes);

// Writes tensors in the given order, one at a time (memory for one tensor), and fsyncs.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace lfm2
