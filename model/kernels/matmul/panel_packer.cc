#include "model/kernels/matmul/panel_packer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "base/errors.h"
#include "model/formats/dequantize.h"
#include "model/kernels/matmul/panel_layout.h"
#include "model/kernels/matmul/quantize.h"

namespace lfm2 {
namespace {

constexpr int64_t kScale = sizeof(uint16_t);
constexpr uint32_t kInfinity = 0x7f800000U;

bool IsFiniteHalf(uint16_t half) { return (half & 0x7c00U) != 0x7c00U; }

const PackKernel& KernelFor(Isa isa) {
#if defined(__x86_64__)
  if (isa != Isa::kPortable) return isa == Isa::kAvx2 ? Avx2PackKernel() : Avx512PackKernel();
#endif
  static_cast<void>(isa);
  return PortablePackKernel();
}

}  // namespace

void FirstRefusal::Add(int64_t row, const SourceRow& source, int64_t col, float value) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (row >= row_) return;
  row_ = row;
  found_ = {source, col, value};
}

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

bool PanelPacker::IsSource(DType dtype) {
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

PanelPacker::PanelPacker(WeightFormat format, Isa isa, int64_t cols, FirstRefusal* refusal)
    : format_(format),
      cols_(cols),
      groups_(CeilDiv(cols, kWeightGroup)),
      kernel_(KernelFor(isa)),
      refusal_(refusal) {
  switch (format) {
    case WeightFormat::kF32:
      image_bytes_ = cols * 4;
      break;
    case WeightFormat::kBF16:
      image_bytes_ = CeilDiv(cols, 2) * 4;
      break;
    case WeightFormat::kInt8:
    case WeightFormat::kInt4:
      group_bytes_ = format == WeightFormat::kInt8 ? kWeightGroup : kWeightGroup / 2;
      image_bytes_ = groups_ * group_bytes_;
      scales_.resize(static_cast<size_t>(kRows * groups_));
      wide_scales_.resize(static_cast<size_t>(groups_));
      break;
  }
  images_.resize(static_cast<size_t>(kRows * image_bytes_));
  // As long as a row of blocks, which contain their scales.
  zeros_.resize(static_cast<size_t>(image_bytes_ + groups_ * kScale));
  values_.resize(static_cast<size_t>(groups_ * kWeightGroup));
}

void PanelPacker::Pack(int64_t first_row, std::span<const SourceRow> rows, std::byte* panel) {
  first_row_ = first_row;
  rows_ = rows;
  group_bytes_ == 0 ? PackFloats(panel) : PackGroups(panel);
}

void PanelPacker::PackFloats(std::byte* panel) {
  std::array<const std::byte*, kRows> rows;
  rows.fill(zeros_.data());
  for (size_t r = 0; r < rows_.size(); ++r) rows[r] = FloatRow(static_cast<int64_t>(r));
  kernel_.interleave(rows.data(), 0, image_bytes_ / 4, 0, panel);
}

// A row in the format; points into the file if the file has the same format.
const std::byte* PanelPacker::FloatRow(int64_t r) {
  const SourceRow& row = rows_[static_cast<size_t>(r)];
  const bool whole = cols_ * 2 == image_bytes_;  // no half of a pair to fill
  if (format_ == WeightFormat::kBF16 && row.part->dtype == DType::kBF16 && whole &&
      kernel_.finite_bf16(row.data, cols_)) {
    return row.data;
  }
  std::byte* const image = Image(r);
  if (!ReadValues(r)) return image;
  if (format_ == WeightFormat::kF32) {
    std::memcpy(image, values_.data(), static_cast<size_t>(image_bytes_));
    return image;
  }
  auto* const rounded = reinterpret_cast<uint16_t*>(image);
  kernel_.round_bf16(values_.data(), image_bytes_ / 2, rounded);
  const uint16_t* const end = rounded + cols_;
  const uint16_t* const large = std::find_if(
      rounded, rounded + cols_, [](uint16_t bits) { return (bits & 0x7fffU) == 0x7f80U; });
  if (large != end) Refuse(r, large - rounded, values_[static_cast<size_t>(large - rounded)]);
  return image;
}

// False, after recording the refusal, when a value is not finite.
bool PanelPacker::ReadValues(int64_t r) {
  const SourceRow& source = rows_[static_cast<size_t>(r)];
  const auto cols = static_cast<size_t>(cols_);
  if (source.part->dtype == DType::kBF16) {
    kernel_.widen_bf16(source.data, cols_, values_.data());
  } else {
    TensorView row;
    row.dtype = source.part->dtype;
    row.data = source.data;
    row.bytes = source.part->bytes / source.part->shape[0];
    Dequantize(row, std::span<float>(values_.data(), cols));
  }
  if (kernel_.largest(values_.data(), cols_) < kInfinity) return true;
  const auto bad = std::find_if(values_.begin(), values_.begin() + cols_,
                                [](float value) { return !std::isfinite(value); });
  Refuse(r, bad - values_.begin(), *bad);
  return false;
}

// ggml blocks whose numbers can be used without change.
bool PanelPacker::AreGroups(const SourceRow& row) const {
  return row.part->dtype == (format_ == WeightFormat::kInt8 ? DType::kQ8_0 : DType::kQ4_0);
}

void PanelPacker::PackGroups(std::byte* panel) {
  const bool as_they_are =
      std::all_of(rows_.begin(), rows_.end(), [&](const SourceRow& row) { return AreGroups(row); });
  std::array<const std::byte*, kRows> rows;
  rows.fill(zeros_.data());
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto r = static_cast<int64_t>(i);
    rows[i] = as_they_are ? rows_[i].data + kScale : Image(r);
    if (!AreGroups(rows_[i])) {
      RoundGroups(r);
    } else if (CopyScales(r) && !as_they_are) {
      CopyGroups(r);
    }
  }
  const int64_t stride = group_bytes_ + (as_they_are ? kScale : 0);
  // int8's numbers are stored with 128 added, int4's with the 8 that blocks have already.
  const uint32_t flip = format_ == WeightFormat::kInt8 ? 0x80808080U : 0;
  const auto count = static_cast<int64_t>(rows_.size());
  for (int64_t g = 0; g < groups_; ++g) {
    kernel_.interleave(rows.data(), g * stride, group_bytes_ / 4, flip,
                       panel + GroupOffset(format_, 0, g));
    std::byte* const scales = panel + ScaleOffset(format_, 0, g);
    for (int64_t r = 0; r < count; ++r) std::memcpy(scales + r * kScale, Scales(r) + g, kScale);
  }
}

bool PanelPacker::CopyScales(int64_t r) {
  const std::byte* block = rows_[static_cast<size_t>(r)].data;
  uint16_t* const scales = Scales(r);
  for (int64_t g = 0; g < groups_; ++g, block += kScale + group_bytes_) {
    scales[g] = Load16(block);
    if (IsFiniteHalf(scales[g])) continue;
    Refuse(r, g * kWeightGroup, HalfToFloat(scales[g]));
    return false;
  }
  return true;
}

void PanelPacker::CopyGroups(int64_t r) {
  const std::byte* block = rows_[static_cast<size_t>(r)].data;
  for (int64_t g = 0; g < groups_; ++g, block += kScale + group_bytes_) {
    std::memcpy(Image(r) + g * group_bytes_, block + kScale, static_cast<size_t>(group_bytes_));
  }
}

void PanelPacker::RoundGroups(int64_t r) {
  if (!ReadValues(r)) return;
  if (format_ == WeightFormat::kInt8) {
    kernel_.round_int8(values_.data(), groups_, reinterpret_cast<int8_t*>(Image(r)),
                       wide_scales_.data());
  } else {
    kernel_.round_int4(values_.data(), groups_, reinterpret_cast<uint8_t*>(Image(r)),
                       wide_scales_.data());
  }
  uint16_t* const scales = Scales(r);
  for (int64_t g = 0; g < groups_; ++g) {
    scales[g] = FloatToHalf(wide_scales_[static_cast<size_t>(g)]);
    if (IsFiniteHalf(scales[g])) continue;
    const auto begin = values_.begin() + g * kWeightGroup;
    const auto largest = std::max_element(
        begin, begin + kWeightGroup, [](float a, float b) { return std::abs(a) < std::abs(b); });
    return Refuse(r, largest - values_.begin(), *largest);
  }
}

}  // namespace lfm2
