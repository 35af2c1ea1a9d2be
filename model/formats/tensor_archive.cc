#include "model/formats/tensor_archive.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

struct DTypeSpec {
  DType dtype;
  int64_t elements;  // of a block
  int64_t bytes;     // of a block
  bool floating;
  const char* name;
};

constexpr DTypeSpec kDTypes[] = {
    {DType::kF64, 1, 8, true, "F64"},     {DType::kF32, 1, 4, true, "F32"},
    {DType::kF16, 1, 2, true, "F16"},     {DType::kBF16, 1, 2, true, "BF16"},
    {DType::kI64, 1, 8, false, "I64"},    {DType::kI32, 1, 4, false, "I32"},
    {DType::kI16, 1, 2, false, "I16"},    {DType::kI8, 1, 1, false, "I8"},
    {DType::kU8, 1, 1, false, "U8"},      {DType::kBool, 1, 1, false, "BOOL"},
    {DType::kQ8_0, 32, 34, true, "Q8_0"}, {DType::kQ4_0, 32, 18, true, "Q4_0"},
    {DType::kQ4_1, 32, 20, true, "Q4_1"},
};
static_assert(kDTypes[static_cast<int>(DType::kQ4_1)].dtype == DType::kQ4_1);

const DTypeSpec& SpecOf(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

}  // namespace

int64_t BlockElements(DType dtype) { return SpecOf(dtype).elements; }

int64_t SizeOf(DType dtype) { return SpecOf(dtype).bytes; }

bool IsFloatingPoint(DType dtype) { return SpecOf(dtype).floating; }

const char* SafetensorsName(DType dtype) { return SpecOf(dtype).name; }

absl::StatusOr<DType> DTypeBySafetensorsName(std::string_view name) {
  std::string known;
  for (const DTypeSpec& spec : kDTypes) {
    if (spec.elements > 1) continue;
    if (name == spec.name) return spec.dtype;
    if (!known.empty()) known += ", ";
    known += spec.name;
  }
  return Error(Reason::kModelFileInvalid,
               "dtype \"" + std::string(name.substr(0, 32)) + "\" is not one of " + known);
}

std::string ShapeToString(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (int64_t dimension : shape) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(dimension);
  }
  return out + "]";
}

absl::StatusOr<int64_t> ElementsOf(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  bool fits = true;
  bool empty = false;
  for (int64_t dimension : shape) {
    if (dimension < 0) {
      return Error(Reason::kModelFileInvalid,
                   "shape " + ShapeToString(shape) + " has a negative dimension");
    }
    empty |= dimension == 0;
    fits = fits && CheckedMul(elements, dimension, &elements);
  }
  if (empty) return 0;
  if (!fits) {
    return Error(Reason::kModelFileInvalid,
                 "shape " + ShapeToString(shape) + " has more than 2^63 - 1 elements");
  }
  return elements;
}

absl::StatusOr<int64_t> BytesOf(DType dtype, const std::vector<int64_t>& shape) {
  LFM2_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(shape));
  const int64_t block = BlockElements(dtype);
  const int64_t row = shape.empty() ? 1 : shape.back();
  if (row % block != 0) {
    return Error(Reason::kModelFileInvalid,
                 std::string(SafetensorsName(dtype)) + " " + ShapeToString(shape) +
                     " has rows that are not whole blocks of " + std::to_string(block));
  }
  int64_t bytes = 0;
  if (!CheckedMul(elements / block, SizeOf(dtype), &bytes)) {
    return Error(Reason::kModelFileInvalid, std::string(SafetensorsName(dtype)) + " " +
                                                ShapeToString(shape) +
                                                " has more than 2^63 - 1 bytes");
  }
  return bytes;
}

const TensorView* TensorArchive::Find(std::string_view name) const {
  for (const TensorView& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

void TensorArchive::AddFile(std::shared_ptr<const MappedFile> file) {
  mapped.emplace_back(file->data(), static_cast<size_t>(file->size()));
  owners.push_back(std::move(file));
}

void TensorArchive::ForgetPages(const TensorView& view) const {
  const std::byte* end = view.data + view.bytes;
  const bool inside = std::any_of(mapped.begin(), mapped.end(), [&](const auto& file) {
    return view.data >= file.data() && end <= file.data() + file.size();
  });
  if (!inside) return;
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t skipped = (page - std::bit_cast<size_t>(view.data) % page) % page;
  const size_t left = static_cast<size_t>(view.bytes);
  if (left < skipped + page) return;
  const size_t whole = (left - skipped) / page * page;
  madvise(const_cast<std::byte*>(view.data) + skipped, whole, MADV_DONTNEED);
}

}  // namespace lfm2
