#include "model/kernels/packed_matrix.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "model/formats/dequantize.h"
#include "model/kernels/panel_layout.h"
#include "model/kernels/quantize.h"

namespace lfm2 {
namespace {

constexpr int64_t kPanelRows = PackedMatrix::kPanelRows;
constexpr int64_t kGroup = PackedMatrix::kGroup;

// A row of a part; errors name the part and its own row, not the stacked one.
struct SourceRow {
  const TensorView* part = nullptr;
  int64_t row = 0;
  const std::byte* data = nullptr;
};

// The first value, in the order of the stacked rows, that a format cannot hold.
class FirstRefusal {
 public:
  void Add(int64_t row, const SourceRow& source, int64_t col, float value) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (row >= row_) return;
    row_ = row;
    found_ = {source, col, value};
  }
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

absl::Status FirstRefusal::ToStatus(WeightFormat format) const {
  if (row_ == INT64_MAX) return absl::OkStatus();
  const std::string& name = found_.source.part->name;
  const std::string place =
      "[" + std::to_string(found_.source.row) + ", " + std::to_string(found_.col) + "]";
  const std::string value = std::to_string(found_.value);
  const std::string why = std::isfinite(found_.value)
                              ? std::string(" is too large for ") + WeightFormatName(format)
                              : std::string(" is not a finite number");
  return Error(Reason::kModelFileInvalid,
               "tensor " + name + ": the value " + value + " at " + place + why,
               {{"tensor", name}, {"place", place}, {"value", value}});
}

bool IsSource(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ4_1:
      return true;
    default:
      return false;
  }
}

absl::Status CheckPart(const TensorView& part, int64_t cols) {
  const std::string shape = ShapeToString(part.shape);
  if (!IsSource(part.dtype)) {
    return Error(Reason::kModelFileInvalid,
                 "tensor " + part.name + " is " + SafetensorsName(part.dtype) +
                     "; weights are F32, F16, BF16, Q8_0, Q4_0 or Q4_1",
                 {{"tensor", part.name}});
  }
  if (part.shape.size() != 2 || part.shape[0] < 1 || part.shape[1] != cols || cols < 1) {
    return Error(Reason::kModelFileInvalid,
                 "tensor " + part.name + " has the shape " + shape + ", expected [rows, " +
                     std::to_string(std::max<int64_t>(cols, 1)) + "]",
                 {{"tensor", part.name}, {"actual", shape}});
  }
  LFM2_ASSIGN_OR_RETURN(const int64_t bytes, BytesOf(part.dtype, part.shape));
  if (part.data == nullptr || part.bytes != bytes) {
    return Error(Reason::kModelFileInvalid,
                 "tensor " + part.name + " has " + std::to_string(part.bytes) + " bytes, " + shape +
                     " needs " + std::to_string(bytes),
                 {{"tensor", part.name}});
  }
  return absl::OkStatus();
}

std::vector<SourceRow> ListRows(std::span<const TensorView> parts) {
  std::vector<SourceRow> rows;
  for (const TensorView& part : parts) {
    const int64_t row_bytes = part.bytes / part.shape[0];
    for (int64_t row = 0; row < part.shape[0]; ++row) {
      rows.push_back({&part, row, part.data + row * row_bytes});
    }
  }
  return rows;
}

void Store16(std::byte* to, uint16_t value) { std::memcpy(to, &value, sizeof(value)); }

uint16_t Load16(const std::byte* from) {
  uint16_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

bool IsFiniteHalf(uint16_t half) { return (half & 0x7c00U) != 0x7c00U; }

// A block's numbers as they are.
QuantizedGroup ReadQ8(const std::byte* block) {
  QuantizedGroup group;
  group.scale = Load16(block);
  std::memcpy(group.q, block + 2, kGroup);
  return group;
}

QuantizedGroup ReadQ4(const std::byte* block) {
  QuantizedGroup group;
  group.scale = Load16(block);
  for (int64_t i = 0; i < kGroup / 2; ++i) {
    const int pair = std::to_integer<int>(block[2 + i]);
    group.q[i] = static_cast<int8_t>((pair & 15) - 8);
    group.q[i + kGroup / 2] = static_cast<int8_t>((pair >> 4) - 8);
  }
  return group;
}

// Packs rows one after the other; one packer a thread.
class RowPacker {
 public:
  RowPacker(WeightFormat format, int64_t cols, FirstRefusal* refusal)
      : format_(format), cols_(cols), refusal_(refusal) {
    values_.resize(static_cast<size_t>(CeilDiv(cols, kGroup) * kGroup));
  }

  // Row `row` of the stacked matrix into its panel.
  void Pack(int64_t row, const SourceRow& source, std::byte* panel);

 private:
  void Refuse(int64_t col, float value) { refusal_->Add(row_, *source_, col, value); }
  bool ReadValues();
  void PackFloats(std::byte* panel);
  void PackBFloat16(std::byte* panel);
  bool CopyBFloat16(std::byte* panel);
  template <typename GroupAt>
  void PackGroups(std::byte* panel, GroupAt group_at);
  void StoreGroup(std::byte* panel, int64_t g, const QuantizedGroup& group);

  const WeightFormat format_;
  const int64_t cols_;
  FirstRefusal* const refusal_;
  std::vector<float> values_;  // the row, zero-filled to whole groups
  int64_t row_ = 0;
  int64_t panel_row_ = 0;
  const SourceRow* source_ = nullptr;
};

void RowPacker::Pack(int64_t row, const SourceRow& source, std::byte* panel) {
  row_ = row;
  panel_row_ = row % kPanelRows;
  source_ = &source;
  const DType dtype = source.part->dtype;
  const int64_t block_bytes = SizeOf(dtype);
  if (format_ == WeightFormat::kInt8 && dtype == DType::kQ8_0) {
    return PackGroups(panel, [&](int64_t g) { return ReadQ8(source.data + g * block_bytes); });
  }
  if (format_ == WeightFormat::kInt4 && dtype == DType::kQ4_0) {
    return PackGroups(panel, [&](int64_t g) { return ReadQ4(source.data + g * block_bytes); });
  }
  if (format_ == WeightFormat::kBF16 && dtype == DType::kBF16 && CopyBFloat16(panel)) return;
  if (!ReadValues()) return;
  switch (format_) {
    case WeightFormat::kF32:
      return PackFloats(panel);
    case WeightFormat::kBF16:
      return PackBFloat16(panel);
    case WeightFormat::kInt8:
      return PackGroups(panel,
                        [&](int64_t g) { return QuantizeInt8(values_.data() + g * kGroup); });
    case WeightFormat::kInt4:
      return PackGroups(panel,
                        [&](int64_t g) { return QuantizeInt4(values_.data() + g * kGroup); });
  }
}

// False, and the refusal noted, when a value is not finite.
bool RowPacker::ReadValues() {
  TensorView row;
  row.dtype = source_->part->dtype;
  row.data = source_->data;
  row.bytes = source_->part->bytes / source_->part->shape[0];
  if (row.dtype == DType::kBF16) {
    for (int64_t c = 0; c < cols_; ++c) values_[c] = BFloat16ToFloat(Load16(row.data + c * 2));
  } else {
    Dequantize(row, std::span<float>(values_.data(), static_cast<size_t>(cols_)));
  }
  uint32_t largest = 0;  // of the magnitudes' bits: those of infinities and NaNs are the largest
  for (int64_t c = 0; c < cols_; ++c) {
    largest = std::max(largest, std::bit_cast<uint32_t>(values_[c]) & 0x7fffffffU);
  }
  if (largest < 0x7f800000U) return true;
  for (int64_t c = 0; c < cols_; ++c) {
    if (std::isfinite(values_[c])) continue;
    Refuse(c, values_[c]);
    break;
  }
  return false;
}

void RowPacker::PackFloats(std::byte* panel) {
  for (int64_t c = 0; c < cols_; ++c) {
    std::memcpy(panel + FloatOffset(panel_row_, c), &values_[c], sizeof(float));
  }
}

void RowPacker::PackBFloat16(std::byte* panel) {
  for (int64_t c = 0; c < cols_; ++c) {
    const uint16_t rounded = FloatToBFloat16(values_[c]);
    if ((rounded & 0x7fffU) == 0x7f80U) return Refuse(c, values_[c]);
    Store16(panel + BFloat16Offset(panel_row_, c), rounded);
  }
}

// A row that is bfloat16 already, a pair of columns at once; false when a value is not finite.
bool RowPacker::CopyBFloat16(std::byte* panel) {
  constexpr uint32_t kExponent = 0x7f80U;
  bool finite = true;
  const auto store = [&](int64_t c, uint32_t pair) {
    finite &= (pair & kExponent) != kExponent && (pair >> 16 & kExponent) != kExponent;
    std::memcpy(panel + BFloat16Offset(panel_row_, c), &pair, sizeof(pair));
  };
  int64_t c = 0;
  for (; c + 2 <= cols_; c += 2) {
    uint32_t pair = 0;
    std::memcpy(&pair, source_->data + c * 2, sizeof(pair));
    store(c, pair);
  }
  if (c < cols_) store(c, Load16(source_->data + c * 2));
  return finite;
}

template <typename GroupAt>
void RowPacker::PackGroups(std::byte* panel, GroupAt group_at) {
  for (int64_t g = 0; g < CeilDiv(cols_, kGroup); ++g) {
    const QuantizedGroup group = group_at(g);
    if (!IsFiniteHalf(group.scale)) {
      // Of a block that was read as it is, the scale; of values, the group's largest.
      const float* values = values_.data() + g * kGroup;
      const float* largest = std::max_element(
          values, values + kGroup, [](float a, float b) { return std::abs(a) < std::abs(b); });
      const bool as_is = IsBlockType(source_->part->dtype) && *largest == 0.0F;
      return Refuse(g * kGroup + (as_is ? 0 : largest - values),
                    as_is ? HalfToFloat(group.scale) : *largest);
    }
    StoreGroup(panel, g, group);
  }
}

void RowPacker::StoreGroup(std::byte* panel, int64_t g, const QuantizedGroup& group) {
  Store16(panel + ScaleOffset(format_, panel_row_, g), group.scale);
  std::byte* to = panel + GroupOffset(format_, panel_row_, g);
  // Four columns lie together, so they move as one word.
  uint8_t bytes[kGroup];
  if (format_ == WeightFormat::kInt8) {
    for (int64_t c = 0; c < kGroup; ++c) bytes[c] = static_cast<uint8_t>(group.q[c] + 128);
    for (int64_t c = 0; c < kGroup; c += 4) std::memcpy(to + Int8Offset(c), bytes + c, 4);
    return;
  }
  for (int64_t c = 0; c < kGroup / 2; ++c) {
    bytes[c] = static_cast<uint8_t>((group.q[c] + 8) | (group.q[c + kGroup / 2] + 8) << 4);
  }
  for (int64_t c = 0; c < kGroup / 2; c += 4) std::memcpy(to + Int4Offset(c), bytes + c, 4);
}

}  // namespace

const char* WeightFormatName(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBF16:
      return "bf16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kInt4:
      return "int4";
  }
  return "unknown";
}

absl::StatusOr<PackedMatrix> PackedMatrix::Pack(std::span<const TensorView> parts,
                                                WeightFormat format, Isa isa, ThreadPool& pool,
                                                HugeArena* arena) {
  if (!CanRun(isa)) {
    return Error(Reason::kUnsupported, std::string("this machine does not run ") + IsaName(isa));
  }
  if (parts.empty()) return Error(Reason::kInternal, "a matrix is packed from no tensor");
  const int64_t cols = parts[0].shape.size() == 2 ? parts[0].shape[1] : 0;
  for (const TensorView& part : parts) LFM2_RETURN_IF_ERROR(CheckPart(part, cols));
  const std::vector<SourceRow> rows = ListRows(parts);
  const int64_t panels = PanelsOf(static_cast<int64_t>(rows.size()));
  const int64_t panel_bytes = StepsOf(format, cols) * StepBytes(format);
  const int64_t bytes = panels * panel_bytes;
  LFM2_ASSIGN_OR_RETURN(HugeBuffer data,
                        arena != nullptr ? arena->Allocate(bytes) : HugeBuffer::Allocate(bytes));
  FirstRefusal refusal;
  pool.ParallelFor(panels, 1, [&](int64_t begin, int64_t end) {
    RowPacker packer(format, cols, &refusal);
    const int64_t last = std::min<int64_t>(end * kPanelRows, rows.size());
    for (int64_t row = begin * kPanelRows; row < last; ++row) {
      packer.Pack(row, rows[row], data.data() + row / kPanelRows * panel_bytes);
    }
  });
  LFM2_RETURN_IF_ERROR(refusal.ToStatus(format));
  return PackedMatrix(format, isa, static_cast<int64_t>(rows.size()), cols, std::move(data));
}

void PackedMatrix::Row(int64_t row, std::span<float> out) const {
  const std::byte* panel = data() + row / kPanelRows * StepsOf(format_, cols_) * StepBytes(format_);
  const int64_t r = row % kPanelRows;
  for (int64_t c = 0; c < cols_; ++c) {
    const int64_t g = c / kGroup;
    switch (format_) {
      case WeightFormat::kF32:
        std::memcpy(&out[c], panel + FloatOffset(r, c), sizeof(float));
        break;
      case WeightFormat::kBF16:
        out[c] = BFloat16ToFloat(Load16(panel + BFloat16Offset(r, c)));
        break;
      case WeightFormat::kInt8:
      case WeightFormat::kInt4: {
        const float scale = HalfToFloat(Load16(panel + ScaleOffset(format_, r, g)));
        const std::byte* group = panel + GroupOffset(format_, r, g);
        const int64_t in_group = c % kGroup;
        const int byte = std::to_integer<int>(
            group[format_ == WeightFormat::kInt8 ? Int8Offset(in_group) : Int4Offset(in_group)]);
        const int q = format_ == WeightFormat::kInt8 ? byte - 128
                      : in_group < kGroup / 2        ? (byte & 15) - 8
                                                     : (byte >> 4) - 8;
        out[c] = scale * static_cast<float>(q);
        break;
      }
    }
  }
}

}  // namespace lfm2
