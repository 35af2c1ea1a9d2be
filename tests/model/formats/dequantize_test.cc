#include "model/formats/dequantize.h"

#include <cmath>
#include <limits>

#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

std::vector<float> Values(DType dtype, const std::string& data, int64_t count) {
  const TensorView view = {
      "w", dtype, {count}, Bytes(data).data(), static_cast<int64_t>(data.size())};
  EXPECT_EQ(*BytesOf(dtype, view.shape), view.bytes);
  std::vector<float> out(static_cast<size_t>(count));
  Dequantize(view, out);
  return out;
}

constexpr uint16_t kHalf = 0x3800;      // 0.5
constexpr uint16_t kMinusTwo = 0xc000;  // -2

TEST(Dequantize, HalvesOfEveryKind) {
  EXPECT_EQ(HalfToFloat(0x3c00), 1.0F);
  EXPECT_EQ(HalfToFloat(kMinusTwo), -2.0F);
  EXPECT_EQ(HalfToFloat(0x7bff), 65504.0F);
  EXPECT_EQ(HalfToFloat(0x0400), 0x1p-14F);  // the smallest normal
  EXPECT_EQ(HalfToFloat(0x03ff), 1023 * 0x1p-24F);
  EXPECT_EQ(HalfToFloat(0x0001), 0x1p-24F);
  EXPECT_EQ(HalfToFloat(0x8001), -0x1p-24F);
  EXPECT_TRUE(std::signbit(HalfToFloat(0x8000)));
  EXPECT_EQ(HalfToFloat(0x7c00), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(HalfToFloat(0x7e00)));
  EXPECT_EQ(BFloat16ToFloat(0xbf80), -1.0F);
}

TEST(Dequantize, PlainTypesAreWidened) {
  EXPECT_EQ(Values(DType::kF32, Raw(1.25F) + Raw(-3.0F), 2), (std::vector<float>{1.25F, -3.0F}));
  EXPECT_EQ(Values(DType::kF16, Raw(kHalf) + Raw(kMinusTwo), 2), (std::vector<float>{0.5F, -2.0F}));
  EXPECT_EQ(Values(DType::kBF16, Raw<uint16_t>(0x3fc0), 1), (std::vector<float>{1.5F}));
}

TEST(Dequantize, EightBitBlocksAreScaleTimesQ) {
  std::string data;
  for (uint16_t scale : {kHalf, kMinusTwo}) {
    data += Raw(scale);
    for (int i = 0; i < 32; ++i) data += static_cast<char>(i == 31 ? -128 : 4 * i - 60);
  }
  const std::vector<float> values = Values(DType::kQ8_0, data, 64);
  for (int i = 0; i < 31; ++i) {
    EXPECT_EQ(values[i], 0.5F * (4 * i - 60)) << i;
    EXPECT_EQ(values[32 + i], -2.0F * (4 * i - 60)) << i;
  }
  EXPECT_EQ(values[31], -64.0F);
  EXPECT_EQ(values[63], 256.0F);
}

// Byte i: i in the low half, 15 - i in the high half.
std::string Nibbles() {
  std::string out;
  for (int i = 0; i < 16; ++i) out += static_cast<char>(i | (15 - i) << 4);
  return out;
}

TEST(Dequantize, FourBitBlocksHoldTheirSecondHalfInTheHighBits) {
  const std::vector<float> centred = Values(DType::kQ4_0, Raw(kHalf) + Nibbles(), 32);
  const std::vector<float> offset =
      Values(DType::kQ4_1, Raw(kHalf) + Raw(kMinusTwo) + Nibbles(), 32);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(centred[i], 0.5F * (i - 8)) << i;
    EXPECT_EQ(centred[16 + i], 0.5F * (7 - i)) << i;
    EXPECT_EQ(offset[i], 0.5F * i - 2.0F) << i;
    EXPECT_EQ(offset[16 + i], 0.5F * (15 - i) - 2.0F) << i;
  }
}

}  // namespace
}  // namespace lfm2
