// The header of one .npy array (versions 1, 2 and 3): a Python dict literal with descr,
// fortran_order and shape. Source of the layout: numpy.lib.format. Pure functions; used by the NPZ
// reader and writer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

struct NpyHeader {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  int64_t bytes = 0;  // of the data: product(shape) * SizeOf(dtype)
};

inline constexpr int64_t kNpyMagicBytes = 8;  // "\x93NUMPY", major, minor
inline constexpr int64_t kMaxNpyDictBytes = 64 << 10;

// The size in bytes of the dict's length after the magic: 2 (version 1) or 4 (versions 2 and 3).
absl::StatusOr<int64_t> NpyLengthBytes(std::string_view magic);

// Refuses object, structured, unicode, complex and big-endian dtypes, and Fortran order with more
// than one dimension.
absl::StatusOr<NpyHeader> ParseNpyDict(std::string_view text);

// Magic, length and dict, padded so that the data begins at a multiple of 64. kUnsupported for
// BF16, which numpy does not have.
absl::StatusOr<std::string> NpyHeaderText(const TensorView& tensor);

}  // namespace lfm2
