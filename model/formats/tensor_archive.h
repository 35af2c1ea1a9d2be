// Named views of tensors: every weights reader returns them and every writer accepts them.
//
// Thread rule: const after construction. Ownership: `owners` keeps the mapped files or buffers
// alive that `data` points into, so a TensorView is valid as long as its archive or a copy of it
// exists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace lfm2 {

// The last three are ggml's block types: 32 neighbours in a row share a scale (Q4_1: and a
// minimum). dequantize.h describes their layout.
enum class DType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kQ8_0,
  kQ4_0,
  kQ4_1
};

int64_t BlockElements(DType dtype);  // 1; 32 for a block type
int64_t SizeOf(DType dtype);         // bytes of one element; of one block for a block type
inline bool IsBlockType(DType dtype) { return BlockElements(dtype) > 1; }
// True for types with fractions, including block types; false for integers and kBool.
bool IsFloatingPoint(DType dtype);
const char* SafetensorsName(DType dtype);  // "F32", "BF16", …; of a block type ggml's name: "Q8_0"
// kModelFileInvalid for a block type, which safetensors does not have.
absl::StatusOr<DType> DTypeBySafetensorsName(std::string_view name);

struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;       // row-major; empty for a scalar
  const std::byte* data = nullptr;  // little-endian; not necessarily aligned to the element
  int64_t bytes = 0;                // BytesOf(dtype, shape), checked by every reader
};

std::string ShapeToString(const std::vector<int64_t>& shape);  // "[2, 3]"
// The number of elements of a shape; an error when a dimension is negative or the product does not
// fit in 63 bits.
absl::StatusOr<int64_t> ElementsOf(const std::vector<int64_t>& shape);
// The size of a tensor in bytes. Errors: those of ElementsOf; a size that does not fit in 63 bits;
// a row of a block type that does not consist of whole blocks.
absl::StatusOr<int64_t> BytesOf(DType dtype, const std::vector<int64_t>& shape);

struct TensorArchive {
  std::vector<TensorView> tensors;  // in file order; names are unique
  std::map<std::string, std::string> metadata;
  std::vector<std::shared_ptr<const void>> owners;
  std::vector<std::span<const std::byte>> mapped;  // the owners that are files mapped read-only

  // Keeps a file alive to which views point.
  void AddFile(std::shared_ptr<const MappedFile> file);
  const TensorView* Find(std::string_view name) const;  // nullptr when absent
  // Releases the memory of a view's whole pages if the view is in a mapped file; they are read
  // again on the next access. Otherwise does nothing.
  void ForgetPages(const TensorView& view) const;
};

}  // namespace lfm2
