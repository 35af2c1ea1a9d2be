// The number formats of packed weights, and the sizes that all their layouts share. Thread rule:
// pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lfm2 {

enum class WeightFormat { kF32, kBF16, kInt8, kInt4 };

const char* WeightFormatName(WeightFormat format);  // "f32", "bf16", "int8", "int4"
std::optional<WeightFormat> WeightFormatByName(std::string_view name);

inline constexpr int64_t kPanelRows = 16;    // rows of a panel
inline constexpr int64_t kWeightGroup = 32;  // columns that share a scale: kInt8, kInt4

}  // namespace lfm2
