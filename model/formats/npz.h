// NPZ: a zip of .npy arrays, read through libarchive with limits. Object arrays, and Fortran order
// with more than one dimension, are refused. numpy has no bfloat16: the writer accepts
// F64/F32/F16/I64/I32/U8/... and the caller widens bf16 to F32 first.
#pragma once

#include <filesystem>
#include <span>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

// Members "<name>.npy" become tensors "<name>". Stored members are read in place when possible.
// kModelFileInvalid.
absl::StatusOr<TensorArchive> ReadNpz(const std::filesystem::path& path);
absl::StatusOr<TensorArchive> ParseNpz(std::string_view file_name,
                                       std::span<const std::byte> bytes);

// Stored (not compressed) zip with zip64 where needed; numpy.load reads it. One tensor in memory at
// a time; fsynced.
absl::Status WriteNpz(const std::filesystem::path& path, std::span<const TensorView> tensors);

}  // namespace lfm2
