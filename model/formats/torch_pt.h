// .pt and .pth files of torch.save: zip + pickle, tensors only. The reader supports the opcodes of
// nested dicts, lists, tuples, strings, numbers and _rebuild_tensor_v2, _rebuild_parameter and
// OrderedDict; any other global is refused by name. Nothing is ever executed.
#pragma once

#include <filesystem>
#include <span>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

// Tensors of nested dicts get dotted names ("model.layers.0…"). A single wrapping key is removed
// when every tensor is below it: "state_dict", "model_state_dict", or "model" if the names below it
// begin with "model." again. Non-contiguous tensors are copied to row-major order. Scalars that are
// not tensors (steps, config values) are skipped and named in metadata "skipped".
absl::StatusOr<TensorArchive> ReadTorchPt(const std::filesystem::path& path);
absl::StatusOr<TensorArchive> ParseTorchPt(std::string_view file_name,
                                           std::span<const std::byte> bytes);

}  // namespace lfm2
