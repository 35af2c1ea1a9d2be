// Packs rows of tensors into the panels of a PackedMatrix, with one packer per thread.
//
// Thread rule: a packer belongs to one thread; FirstRefusal is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "model/formats/tensor_archive.h"
#include "model/kernels/machine/isa.h"
#include "model/kernels/matmul/pack_kernel.h"
#include "model/kernels/matmul/weight_format.h"

namespace lfm2 {

// A row of a part; errors name the part and its own row, not the stacked one.
struct SourceRow {
  const TensorView* part = nullptr;
  int64_t row = 0;
  const std::byte* data = nullptr;
};

// The first value, in the order of the stacked rows, that a format cannot hold.
class FirstRefusal {
 public:
  void Add(int64_t row, const SourceRow& source, int64_t col, float value);
  // kModelFileInvalid, naming the tensor, the position and the value; OK when no value was refused.
  absl::Status ToStatus(WeightFormat format) const;

 private:
  struct Found {
    SourceRow source;
    int64_t col;
    float value;
  };
  std::mutex mutex_;
  int64_t row_ = INT64_MAX;
  Found found_{};
};

class PanelPacker {
 public:
  // Of F32, F16, BF16, Q8_0, Q4_0 or Q4_1.
  static bool IsSource(DType dtype);

  PanelPacker(WeightFormat format, Isa isa, int64_t cols, FirstRefusal* refusal);

  // Packs at most 16 rows of the stacked matrix, from `first_row` on, into their panel; missing
  // rows become zeros. The content of a refused row is unspecified.
  void Pack(int64_t first_row, std::span<const SourceRow> rows, std::byte* panel);

 private:
  static constexpr int64_t kRows = kPanelRows;

  void PackFloats(std::byte* panel);
  void PackGroups(std::byte* panel);
  const std::byte* FloatRow(int64_t r);
  bool AreGroups(const SourceRow& row) const;
  bool CopyScales(int64_t r);
  void CopyGroups(int64_t r);
  void RoundGroups(int64_t r);
  bool ReadValues(int64_t r);
  void Refuse(int64_t r, int64_t col, float value) {
    refusal_->Add(first_row_ + r, rows_[static_cast<size_t>(r)], col, value);
  }
  std::byte* Image(int64_t r) { return images_.data() + r * image_bytes_; }
  uint16_t* Scales(int64_t r) { return scales_.data() + r * groups_; }

  const WeightFormat format_;
  const int64_t cols_;
  const int64_t groups_;
  const PackKernel& kernel_;
  FirstRefusal* const refusal_;
  int64_t group_bytes_ = 0;        // of a row's group in the format
  int64_t image_bytes_ = 0;        // of a row in the format
  std::vector<std::byte> images_;  // of 16 rows, each row by itself
  std::vector<std::byte> zeros_;   // a missing row
  std::vector<uint16_t> scales_;   // fp16, of 16 rows
  std::vector<float> values_;      // a row, zero-filled to whole groups
  std::vector<float> wide_scales_;
  int64_t first_row_ = 0;
  std::span<const SourceRow> rows_;
};

}  // namespace lfm2
