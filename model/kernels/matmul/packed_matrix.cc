#include "model/kernels/matmul/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/formats/dequantize.h"
#include "model/kernels/matmul/panel_layout.h"
#include "model/kernels/matmul/panel_packer.h"

namespace lfm2 {
namespace {

absl::Status CheckPart(const TensorView& part, int64_t cols) {
  const std::string shape = ShapeToString(part.shape);
  if (!PanelPacker::IsSource(part.dtype)) {
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

std::optional<WeightFormat> WeightFormatByName(std::string_view name) {
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kInt8, WeightFormat::kInt4}) {
    if (name == WeightFormatName(format)) return format;
  }
  return std::nullopt;
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
    PanelPacker packer(format, isa, cols, &refusal);
    for (int64_t panel = begin; panel < end; ++panel) {
      const size_t row = static_cast<size_t>(panel * kPanelRows);
      const size_t count = std::min<size_t>(kPanelRows, rows.size() - row);
      packer.Pack(panel * kPanelRows, std::span(rows).subspan(row, count),
                  data.data() + panel * panel_bytes);
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
