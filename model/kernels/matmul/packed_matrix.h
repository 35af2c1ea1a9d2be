// A weight matrix, stored in the order in which the matrix kernels read it.
//
// Rows are interleaved by 16 ("a panel"), so that one vector register holds one column step of 16
// rows and a thread reads its panels from front to back. Formats:
//   kF32   float32.
//   kBF16  bfloat16, pairs of columns together.
//   kInt8  groups of 32 columns, q in -128..127 and one fp16 scale a group: the numbers of Q8_0.
//   kInt4  groups of 32 columns, q in -8..7 and one fp16 scale a group: the numbers of Q4_0.
// At least one row and one column; the last panel and the last group are padded with zeros, which
// are never read back.
//
// Thread rule: const after Pack. Ownership: owns its memory (64-byte aligned, huge pages if the
// system provides them) and does not need the tensors after packing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"
#include "model/kernels/machine/huge_buffer.h"
#include "model/kernels/machine/isa.h"
#include "model/kernels/machine/thread_pool.h"
#include "model/kernels/matmul/weight_format.h"

namespace lfm2 {

class PackedMatrix {
 public:
  // Stacks the rows of `parts` (each [rows_i, cols] of F32, F16, BF16, Q8_0, Q4_0 or Q4_1, in any
  // mixture). Q8_0 to kInt8 and Q4_0 to kInt4 keep every number; everything else is rounded once,
  // to nearest even for kBF16 and by the rule of ggml's reference quantizers for kInt8 and kInt4.
  // `isa` is what MatMul will run with. Errors: kModelFileInvalid for a part of another shape or
  // type, a value that is not finite or too large for the format, naming the tensor and the
  // position; kUnsupported for an instruction set that this machine lacks; kOutOfMemory. With an
  // arena, the matrix is allocated in it.
  static absl::StatusOr<PackedMatrix> Pack(std::span<const TensorView> parts, WeightFormat format,
                                           Isa isa, ThreadPool& pool, HugeArena* arena = nullptr);

  PackedMatrix(PackedMatrix&&) = default;
  PackedMatrix& operator=(PackedMatrix&&) = default;

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  WeightFormat format() const { return format_; }
  Isa isa() const { return isa_; }
  int64_t bytes() const { return data_.bytes(); }

  // One row as float32, exactly as stored: the embedding lookup. 0 <= row < rows(),
  // out.size() == cols().
  void Row(int64_t row, std::span<float> out) const;

  // For the kernels (layout: panel_layout.h).
  const std::byte* data() const { return data_.data(); }

 private:
  PackedMatrix(WeightFormat format, Isa isa, int64_t rows, int64_t cols, HugeBuffer data)
      : format_(format), isa_(isa), rows_(rows), cols_(cols), data_(std::move(data)) {}

  WeightFormat format_;
  Isa isa_;
  int64_t rows_;
  int64_t cols_;
  HugeBuffer data_;
};

}  // namespace lfm2
