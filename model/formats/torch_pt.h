// .pt / .pth files of torch.save: zip + pickle, tensors only. The pickle is interpreted by a reader
// that knows the opcodes of nested dicts, lists, tuples, strings, numbers and _rebuild_tensor_v2 /
// _rebuild_parameter / OrderedDict; any other global is refused by name. Nothing is ever executed.
#pragma once

#include <filesystem>
#include <span>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

// Tensors of nested dicts get dotted names ("model.layers.0…"); a single wrapping key
// ("state_dict", "model_state_dict", "model" holding the whole dict, told by a "model." below it)
// is stripped when every tensor lies below it. Non-contiguous tensors are copied to row-major.
// Scalars that are not tensors (steps, config values) are skipped and named in metadata "skipped".
absl::StatusOr<TensorArchive> ReadTorchPt(const std::filesystem::path& path);
absl::StatusOr<TensorArchive> ParseTorchPt(std::string_view file_name,
                                           std::span<const std::byte> bytes);

}  // namespace lfm2
