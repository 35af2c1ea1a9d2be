// Named tensors in memory that somebody else owns: what every weights reader returns and every
// writer takes.
//
// Thread rule: const after construction. Ownership: `owners` keeps the mapped files (or buffers)
// alive that `data` points into, so a TensorView is valid as long as its archive, or a copy of it,
// lives.
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
// minimum). Their layout stands in dequantize.h.
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
// Values with a fraction, blocks among them; not integers and not kBool.
bool IsFloatingPoint(DType dtype);
const char* SafetensorsName(DType dtype);  // "F32", "BF16", …; of a block type ggml's name: "Q8_0"
// Block types are none of safetensors': kModelFileInvalid.
absl::StatusOr<DType> DTypeBySafetensorsName(std::string_view name);

struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;       // row-major; empty for a scalar
  const std::byte* data = nullptr;  // little-endian; not necessarily aligned to the element
  int64_t bytes = 0;                // BytesOf(dtype, shape), checked by every reader
};

std::string ShapeToString(const std::vector<int64_t>& shape);  // "[2, 3]"
// Elements of a shape; an error when a dimension is negative or the product does not fit in 63
// bits.
absl::StatusOr<int64_t> ElementsOf(const std::vector<int64_t>& shape);
// Bytes of a tensor; an error as of ElementsOf, when they do not fit in 63 bits, and when a row of
// a block type is not whole blocks.
absl::StatusOr<int64_t> BytesOf(DType dtype, const std::vector<int64_t>& shape);

struct TensorArchive {
  std::vector<TensorView> tensors;  // in file order; names are unique
  std::map<std::string, std::string> metadata;
  std::vector<std::shared_ptr<const void>> owners;
  std::vector<std::span<const std::byte>> mapped;  // what of the owners are files mapped read-only

  // Keeps a file that views lie in.
  void AddFile(std::shared_ptr<const MappedFile> file);
  const TensorView* Find(std::string_view name) const;  // nullptr when absent
  // Gives the memory of a view's whole pages back where the view lies in a mapped file; they are
  // read again when touched. Elsewhere it does nothing.
  void ForgetPages(const TensorView& view) const;
};

}  // namespace lfm2
