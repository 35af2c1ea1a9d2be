// The safetensors container: one file, or shards named by model.safetensors.index.json. Format: u64
// header length, JSON header, data. Checked before anything is believed: header size, count,
// duplicate names, dtype x shape == range, ranges tile the data exactly (no hole, no overlap).
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
// The header and data of one file already in memory (what the fuzz target drives).
absl::StatusOr<TensorArchive> ParseSafetensors(std::string_view file_name,
                                               std::span<const std::byte> bytes);

// Writes tensors in the given order, one after another (memory use is one tensor), and fsyncs.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace lfm2
