#include "model/kernels/matmul/quantize.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>

#include "model/formats/dequantize.h"
#include "tests/model/kernels/matmul/plain_quantize.h"

namespace lfm2 {
namespace {

TEST(Quantize, EveryHalfSurvivesTheWayThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value))));
    } else {
      ASSERT_EQ(FloatToHalf(value), half) << value;
    }
  }
}

TEST(Quantize, HalfwayBetweenTwoHalvesGoesToTheEvenOne) {
  for (uint32_t bits = 0; bits + 1 < 0x7c00; ++bits) {
    const double low = HalfToFloat(static_cast<uint16_t>(bits));
    const double high = HalfToFloat(static_cast<uint16_t>(bits + 1));
    const float middle = static_cast<float>((low + high) / 2);  // exact: one bit more
    ASSERT_EQ(FloatToHalf(middle), bits % 2 == 0 ? bits : bits + 1) << middle;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 1e9F)), bits + 1);
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, -1.0F)), bits);
    ASSERT_EQ(FloatToHalf(-middle), FloatToHalf(middle) | 0x8000);
  }
}

TEST(Quantize, HalfOverflowsToInfinity) {
  EXPECT_EQ(FloatToHalf(65519.0F), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0F), 0x7c00);
  EXPECT_EQ(FloatToHalf(-1e30F), 0xfc00);
}

TEST(Quantize, BFloat16RoundsToNearestEven) {
  EXPECT_EQ(FloatToBFloat16(1.0F), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f808000U)), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f808001U)), 0x3f81);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f818000U)), 0x3f82);
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(std::bit_cast<float>(0x7f800001U)))));
}

// Numbers worked out by hand from the rule of ggml's reference quantizers.
TEST(Quantize, Int8FollowsTheReferenceRule) {
  float values[32] = {};
  values[3] = -12.7F;
  values[4] = 6.35F;
  values[5] = 0.05F;    // half of a step goes away from zero
  values[6] = -0.049F;  // less than half
  const QuantizedGroup group = QuantizeInt8(values);
  EXPECT_EQ(group.scale, FloatToHalf(0.1F));
  EXPECT_EQ(group.q[3], -127);
  EXPECT_EQ(group.q[4], std::lround(6.35F * (1.0F / (12.7F / 127.0F))));
  EXPECT_EQ(group.q[5], 1);
  EXPECT_EQ(group.q[6], 0);
  EXPECT_EQ(group.q[0], 0);
}

TEST(Quantize, Int4GivesTheLargestTheNumberMinusEight) {
  float values[32] = {};
  values[0] = 4.0F;
  values[1] = -4.0F;  // the same magnitude, later: has no -8 of its own sign, is cut to 7
  values[2] = 0.25F;
  values[3] = -0.24F;
  const QuantizedGroup group = QuantizeInt4(values);
  EXPECT_EQ(HalfToFloat(group.scale), -0.5F);
  EXPECT_EQ(group.q[0], -8);
  EXPECT_EQ(group.q[1], 7);
  EXPECT_EQ(group.q[2], 0);  // -0.5 + 8.5 = 8
  EXPECT_EQ(group.q[3], 0);
}

TEST(Quantize, ZeroAndTinyGroupsAreZero) {
  float values[32] = {};
  EXPECT_EQ(QuantizeInt8(values).scale, 0);
  EXPECT_EQ(HalfToFloat(QuantizeInt4(values).scale), 0.0F);
  for (float& value : values) value = 1e-44F;
  for (const QuantizedGroup& group : {QuantizeInt8(values), QuantizeInt4(values)}) {
    EXPECT_EQ(HalfToFloat(group.scale), 0.0F);
  }
}

TEST(Quantize, ErrorIsHalfAStep) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 2000; ++round) {
    float values[32];
    float largest = 0;
    for (float& value : values) {
      value = normal(random);
      largest = std::max(largest, std::abs(value));
    }
    const QuantizedGroup int8 = QuantizeInt8(values);
    const QuantizedGroup int4 = QuantizeInt4(values);
    for (int i = 0; i < 32; ++i) {
      // Half a step, and the fp16 rounding of the scale.
      EXPECT_NEAR(HalfToFloat(int8.scale) * int8.q[i], values[i],
                  largest / 127 * 0.501F + largest * 0x1p-11F);
      // The side opposite the largest has one number less, so that a whole step may be lost there.
      EXPECT_NEAR(HalfToFloat(int4.scale) * int4.q[i], values[i],
                  largest / 8 * 1.001F + largest * 0x1p-11F);
    }
  }
}

}  // namespace
}  // namespace lfm2
