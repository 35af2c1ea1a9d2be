// The position of each number in a PackedMatrix, and the steps in which kernels read the columns.
//
// A panel is 16 rows. Along the columns it is cut into steps of equal size, padded with zeros at
// the end. A step contains, in this order:
//
//   kF32: 4 columns, 256 bytes. [4 columns][16 rows] float32.
//
//   kBF16: 8 columns, 256 bytes. [4 pairs][16 rows][2 columns] bfloat16.
//
//   kInt8: 2 groups of 32, 1088 bytes. [2 groups][16 rows] fp16 scales, then of each group
//   [8 quads][16 rows][4 columns] uint8 = q + 128.
//
//   kInt4: 2 groups of 32, 576 bytes. [2 groups][16 rows] fp16 scales, then of each group
//   [4 quads][16 rows][4 columns] bytes: low half = q + 8 of columns 0..15 of the group, high half
//   = of columns 16..31.
//
// So every register load is 64-byte aligned and a panel is read sequentially.
// Thread rule: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model/kernels/matmul/panel_kernel.h"
#include "model/kernels/matmul/weight_format.h"

namespace lfm2 {

// Two bytes from any address: a bfloat16, or the fp16 scale of a group.
inline uint16_t Load16(const std::byte* from) {
  uint16_t value = 0;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline constexpr int64_t StepCols(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return 4;
    case WeightFormat::kBF16:
      return 8;
    case WeightFormat::kInt8:
    case WeightFormat::kInt4:
      return 64;
  }
  return 0;
}

inline constexpr int64_t StepBytes(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
    case WeightFormat::kBF16:
      return kFloatStepBytes;
    case WeightFormat::kInt8:
      return kInt8StepBytes;
    case WeightFormat::kInt4:
      return kInt4StepBytes;
  }
  return 0;
}

inline constexpr int64_t CeilDiv(int64_t n, int64_t d) { return n / d + (n % d != 0 ? 1 : 0); }

inline constexpr int64_t StepsOf(WeightFormat format, int64_t cols) {
  return CeilDiv(cols, StepCols(format));
}

inline constexpr int64_t PanelsOf(int64_t rows) { return CeilDiv(rows, kPanelRows); }

// Byte offset, within its panel, of row `r` (0..15) at column `c`.
inline constexpr int64_t FloatOffset(int64_t r, int64_t c) { return c * 64 + r * 4; }
inline constexpr int64_t BFloat16Offset(int64_t r, int64_t c) {
  return c / 2 * 64 + r * 4 + c % 2 * 2;
}
// Byte offset of the scale of row `r` in group `g`, and of the group's first column.
inline constexpr int64_t ScaleOffset(WeightFormat format, int64_t r, int64_t g) {
  return g / 2 * StepBytes(format) + g % 2 * 32 + r * 2;
}
inline constexpr int64_t GroupOffset(WeightFormat format, int64_t r, int64_t g) {
  const int64_t group_bytes = (StepBytes(format) - kScaleBytes) / 2;
  return g / 2 * StepBytes(format) + kScaleBytes + g % 2 * group_bytes + r * 4;
}
// Byte offset of column `c` (0..31) of a group, from the group's first column.
inline constexpr int64_t Int8Offset(int64_t c) { return c / 4 * 64 + c % 4; }
inline constexpr int64_t Int4Offset(int64_t c) { return Int8Offset(c % 16); }  // high half: c >= 16

}  // namespace lfm2
