#include "model/kernels/matmul/packed_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/errors.h"
#include "model/formats/dequantize.h"
#include "model/kernels/matmul/quantize.h"
#include "tests/model/kernels/matmul/plain_quantize.h"

namespace lfm2 {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kInt8,
                                     WeightFormat::kInt4};

// A tensor that owns its bytes; misaligned by one, as a file may have it.
struct Owned {
  Owned(std::string name, DType dtype, std::vector<int64_t> shape, const std::string& bytes) {
    storage.resize(bytes.size() + 1);
    std::memcpy(storage.data() + 1, bytes.data(), bytes.size());
    view = {std::move(name), dtype, std::move(shape),
            reinterpret_cast<const std::byte*>(storage.data() + 1),
            static_cast<int64_t>(bytes.size())};
  }
  Owned(Owned&& other) noexcept : storage(std::move(other.storage)), view(std::move(other.view)) {}
  std::vector<char> storage;
  TensorView view;
};

template <typename T>
std::string BytesOfAll(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

Owned F32(const std::vector<float>& values, int64_t rows, int64_t cols, std::string name = "w") {
  return {std::move(name), DType::kF32, {rows, cols}, BytesOfAll(values)};
}

std::vector<float> Normal(int64_t n, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.3F);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& value : values) value = normal(random);
  return values;
}

// Blocks of random bits with scales and minima that are finite.
Owned Blocks(DType dtype, int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes;
  const auto add_half = [&] {
    const uint16_t half =
        FloatToHalf(std::ldexp(static_cast<float>(random() % 4001) - 2000.0F, -17));
    bytes.append(reinterpret_cast<const char*>(&half), 2);
  };
  const int halves = dtype == DType::kQ4_1 ? 2 : 1;
  for (int64_t block = 0; block < rows * cols / 32; ++block) {
    for (int i = 0; i < halves; ++i) add_half();
    for (int64_t i = 2 * halves; i < SizeOf(dtype); ++i) bytes += static_cast<char>(random());
  }
  return {"blocks", dtype, {rows, cols}, bytes};
}

absl::StatusOr<PackedMatrix> Pack(const TensorView& view, WeightFormat format, int threads = 2) {
  ThreadPool pool(threads);
  return PackedMatrix::Pack({&view, 1}, format, DetectIsa(), pool);
}

std::vector<float> RowOf(const PackedMatrix& matrix, int64_t row) {
  std::vector<float> out(static_cast<size_t>(matrix.cols()));
  matrix.Row(row, out);
  return out;
}

TEST(PackedMatrix, Float32IsKeptForEveryShape) {
  for (int64_t rows : {1, 15, 16, 17, 50}) {
    for (int64_t cols : {1, 3, 32, 33, 64, 100}) {
      const auto values = Normal(rows * cols);
      const Owned tensor = F32(values, rows, cols);
      const auto packed = Pack(tensor.view, WeightFormat::kF32);
      ASSERT_TRUE(packed.ok()) << packed.status();
      EXPECT_EQ(packed->rows(), rows);
      EXPECT_EQ(packed->cols(), cols);
      for (int64_t r = 0; r < rows; ++r) {
        const auto row = RowOf(*packed, r);
        for (int64_t c = 0; c < cols; ++c) ASSERT_EQ(row[c], values[r * cols + c]);
      }
    }
  }
}

TEST(PackedMatrix, BFloat16RoundsOnceAndKeepsWhatIsOneAlready) {
  const auto values = Normal(20 * 70);
  const Owned tensor = F32(values, 20, 70);
  const auto packed = Pack(tensor.view, WeightFormat::kBF16);
  ASSERT_TRUE(packed.ok());
  std::vector<uint16_t> bits;
  for (float value : values) bits.push_back(FloatToBFloat16(value));
  const Owned rounded("w", DType::kBF16, {20, 70}, BytesOfAll(bits));
  const auto again = Pack(rounded.view, WeightFormat::kBF16);
  ASSERT_TRUE(again.ok());
  for (int64_t r = 0; r < 20; ++r) {
    const auto row = RowOf(*packed, r);
    for (int64_t c = 0; c < 70; ++c) ASSERT_EQ(row[c], BFloat16ToFloat(bits[r * 70 + c]));
    EXPECT_EQ(RowOf(*again, r), row);
  }
}

TEST(PackedMatrix, Float16IsReadExactly) {
  std::vector<uint16_t> bits;
  std::vector<float> values;
  for (float value : Normal(17 * 40)) {
    bits.push_back(FloatToHalf(value));
    values.push_back(HalfToFloat(bits.back()));
  }
  const Owned tensor("w", DType::kF16, {17, 40}, BytesOfAll(bits));
  const auto packed = Pack(tensor.view, WeightFormat::kF32);
  ASSERT_TRUE(packed.ok());
  for (int64_t i = 0; i < 17 * 40; ++i) ASSERT_EQ(RowOf(*packed, i / 40)[i % 40], values[i]);
}

TEST(PackedMatrix, BlocksOfGgmlAreKeptBitForBit) {
  struct Lossless {
    DType dtype;
    WeightFormat format;
  };
  for (const auto& [dtype, format] :
       {Lossless{DType::kQ8_0, WeightFormat::kInt8}, Lossless{DType::kQ4_0, WeightFormat::kInt4}}) {
    const int64_t rows = 37, cols = 96;
    const Owned tensor = Blocks(dtype, rows, cols, 9);
    std::vector<float> expected(static_cast<size_t>(rows * cols));
    Dequantize(tensor.view, expected);
    const auto packed = Pack(tensor.view, format);
    ASSERT_TRUE(packed.ok()) << packed.status();
    for (int64_t r = 0; r < rows; ++r) {
      const auto row = RowOf(*packed, r);
      for (int64_t c = 0; c < cols; ++c) {
        ASSERT_EQ(row[c], expected[r * cols + c]) << WeightFormatName(format) << " row " << r;
      }
    }
  }
}

TEST(PackedMatrix, QuantizesByTheGroupRule) {
  const int64_t rows = 18, cols = 75;
  const auto values = Normal(rows * cols);
  const Owned tensor = F32(values, rows, cols);
  for (WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
    const auto packed = Pack(tensor.view, format);
    ASSERT_TRUE(packed.ok());
    for (int64_t r = 0; r < rows; ++r) {
      const auto row = RowOf(*packed, r);
      for (int64_t begin = 0; begin < cols; begin += 32) {
        float group[32] = {};
        const int64_t count = std::min<int64_t>(32, cols - begin);
        std::memcpy(group, values.data() + r * cols + begin, count * sizeof(float));
        const QuantizedGroup expected =
            format == WeightFormat::kInt8 ? QuantizeInt8(group) : QuantizeInt4(group);
        for (int64_t c = 0; c < count; ++c) {
          ASSERT_EQ(row[begin + c], HalfToFloat(expected.scale) * expected.q[c]);
        }
      }
    }
  }
}

std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    if (CanRun(isa)) isas.push_back(isa);
  }
  return isas;
}

// Groups that a rule may treat in a way of its own.
std::vector<float> OddGroups() {
  std::vector<float> values = Normal(32 * 12, 77);
  const auto group = [&](int64_t g) { return values.data() + g * 32; };
  std::fill_n(group(0), 32, 0.0F);
  std::fill_n(group(1), 32, -0.0F);
  std::fill_n(group(2), 16, -0.0F), std::fill_n(group(2) + 16, 16, 0.0F);
  std::fill_n(group(3), 32, 1e-44F);
  group(4)[9] = 3.0F, group(4)[20] = -3.0F;  // two largest: the first counts
  group(5)[9] = -3.0F, group(5)[20] = 3.0F;
  for (int i = 0; i < 32; ++i) group(6)[i] = static_cast<float>(i) - 15.5F;  // halves
  group(6)[0] = 127.0F;
  for (int i = 0; i < 32; ++i) group(7)[i] = (static_cast<float>(i) - 16.0F) / 2;
  std::fill_n(group(8), 32, -5e4F);
  group(9)[31] = 4.9e5F;
  group(10)[0] = -4e5F;
  return values;
}

TEST(PackedMatrix, EveryInstructionSetGivesTheSameBytesFromEveryType) {
  for (int64_t cols : {31, 64, 200, 384}) {
    std::vector<float> values = Normal(21 * cols, 5);
    const std::vector<float> odd = OddGroups();
    if (cols == 384) std::copy(odd.begin(), odd.end(), values.begin() + 20 * cols);
    std::vector<uint16_t> bits, halves;
    for (float value : values) {
      bits.push_back(FloatToBFloat16(value));
      halves.push_back(FloatToHalf(std::clamp(value, -6e4F, 6e4F)));
    }
    std::vector<Owned> tensors;
    tensors.push_back(F32(values, 21, cols));
    tensors.push_back({"w", DType::kBF16, {21, cols}, BytesOfAll(bits)});
    tensors.push_back({"w", DType::kF16, {21, cols}, BytesOfAll(halves)});
    if (cols % 32 == 0) {
      for (DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
        tensors.push_back(Blocks(dtype, 21, cols, 8));
      }
    }
    for (const Owned& tensor : tensors) {
      for (WeightFormat format : kFormats) {
        ThreadPool pool(2);
        // Parts of one panel that may need different treatment.
        const TensorView parts[] = {tensor.view, tensors[0].view};
        const auto plain = PackedMatrix::Pack(parts, format, Isa::kPortable, pool);
        ASSERT_TRUE(plain.ok()) << plain.status();
        for (Isa isa : Isas()) {
          const auto packed = PackedMatrix::Pack(parts, format, isa, pool);
          ASSERT_TRUE(packed.ok()) << packed.status();
          ASSERT_EQ(0,
                    std::memcmp(plain->data(), packed->data(), static_cast<size_t>(plain->bytes())))
              << IsaName(isa) << " " << WeightFormatName(format) << " from "
              << SafetensorsName(tensor.view.dtype) << ", " << cols << " columns";
        }
      }
    }
  }
}

// Also the sign of a zero scale, which no value shows.
TEST(PackedMatrix, OddGroupsFollowTheRuleToTheBit) {
  const std::vector<float> values = OddGroups();
  const Owned tensor = F32(values, 1, static_cast<int64_t>(values.size()));
  for (Isa isa : Isas()) {
    ThreadPool pool(1);
    for (WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
      const auto packed = PackedMatrix::Pack({&tensor.view, 1}, format, isa, pool);
      ASSERT_TRUE(packed.ok()) << packed.status();
      const auto row = RowOf(*packed, 0);
      for (size_t g = 0; g < values.size() / 32; ++g) {
        const QuantizedGroup expected = format == WeightFormat::kInt8
                                            ? QuantizeInt8(values.data() + g * 32)
                                            : QuantizeInt4(values.data() + g * 32);
        for (size_t i = 0; i < 32; ++i) {
          const float value = HalfToFloat(expected.scale) * static_cast<float>(expected.q[i]);
          ASSERT_EQ(std::bit_cast<uint32_t>(row[g * 32 + i]), std::bit_cast<uint32_t>(value))
              << IsaName(isa) << " " << WeightFormatName(format) << " group " << g << " at " << i;
        }
      }
    }
  }
}

TEST(PackedMatrix, OtherBlocksAreRequantizedFromTheirValues) {
  const Owned tensor = Blocks(DType::kQ4_0, 16, 64, 3);
  std::vector<float> values(16 * 64);
  Dequantize(tensor.view, values);
  const Owned floats = F32(values, 16, 64);
  for (WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kInt8}) {
    const auto from_blocks = Pack(tensor.view, format);
    const auto from_floats = Pack(floats.view, format);
    ASSERT_TRUE(from_blocks.ok() && from_floats.ok());
    for (int64_t r = 0; r < 16; ++r) EXPECT_EQ(RowOf(*from_blocks, r), RowOf(*from_floats, r));
  }
}

TEST(PackedMatrix, StacksPartsOfDifferentTypes) {
  const auto values = Normal(5 * 64);
  const Owned floats = F32(values, 5, 64);
  const Owned blocks = Blocks(DType::kQ8_0, 13, 64, 4);
  std::vector<float> block_values(13 * 64);
  Dequantize(blocks.view, block_values);
  ThreadPool pool(3);
  const TensorView parts[] = {floats.view, blocks.view, floats.view};
  const auto packed = PackedMatrix::Pack(parts, WeightFormat::kF32, Isa::kPortable, pool);
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(packed->rows(), 23);
  for (int64_t r = 0; r < 23; ++r) {
    const float* expected = r < 5    ? values.data() + r * 64
                            : r < 18 ? block_values.data() + (r - 5) * 64
                                     : values.data() + (r - 18) * 64;
    EXPECT_EQ(0, std::memcmp(RowOf(*packed, r).data(), expected, 64 * sizeof(float))) << r;
  }
}

TEST(PackedMatrix, ThreadsDoNotChangeTheBytes) {
  const Owned tensor = F32(Normal(200 * 90), 200, 90);
  for (WeightFormat format : kFormats) {
    const auto one = Pack(tensor.view, format, 1);
    const auto three = Pack(tensor.view, format, 3);
    ASSERT_TRUE(one.ok() && three.ok());
    ASSERT_EQ(one->bytes(), three->bytes());
    EXPECT_EQ(0, std::memcmp(one->data(), three->data(), static_cast<size_t>(one->bytes())));
  }
}

TEST(PackedMatrix, RefusesWhatIsNotFiniteAndNamesThePlace) {
  for (float bad : {INFINITY, -INFINITY, std::numeric_limits<float>::quiet_NaN()}) {
    for (WeightFormat format : kFormats) {
      auto values = Normal(40 * 50);
      values[21 * 50 + 33] = bad;
      values[30 * 50] = bad;  // a later one is not what is named
      const Owned tensor = F32(values, 40, 50, "model.layers.3.w1");
      const auto packed = Pack(tensor.view, format);
      EXPECT_EQ(DetailsOf(packed.status()).reason, Reason::kModelFileInvalid);
      const std::string message(packed.status().message());
      EXPECT_NE(message.find("model.layers.3.w1"), std::string::npos) << message;
      EXPECT_NE(message.find("[21, 33]"), std::string::npos) << message;
    }
  }
}

TEST(PackedMatrix, RefusesBlocksWhoseScaleIsNotFinite) {
  for (DType dtype : {DType::kQ8_0, DType::kQ4_0}) {
    Owned tensor = Blocks(dtype, 4, 64, 4);
    const uint16_t infinity = 0x7c00;
    std::memcpy(tensor.storage.data() + 1 + 3 * SizeOf(dtype), &infinity, 2);
    const auto packed =
        Pack(tensor.view, dtype == DType::kQ8_0 ? WeightFormat::kInt8 : WeightFormat::kInt4);
    EXPECT_EQ(DetailsOf(packed.status()).reason, Reason::kModelFileInvalid);
    EXPECT_NE(packed.status().message().find("[1, 32]"), std::string::npos) << packed.status();
  }
}

TEST(PackedMatrix, RefusesWhatTheFormatCannotHoldAndKeepsTheLargestItCan) {
  struct Limit {
    WeightFormat format;
    float fits, overflows;
  };
  const Limit limits[] = {{WeightFormat::kF32, 3.4e38F, 0},
                          {WeightFormat::kBF16, 3.38e38F, 3.4e38F},
                          {WeightFormat::kInt8, 65504.0F * 127, 65520.0F * 127},
                          {WeightFormat::kInt4, 65504.0F * 8, 65520.0F * 8}};
  for (const Limit& limit : limits) {
    auto values = Normal(3 * 40);
    values[1 * 40 + 36] = -limit.fits;
    const Owned fits = F32(values, 3, 40);
    const auto packed = Pack(fits.view, limit.format);
    ASSERT_TRUE(packed.ok()) << packed.status();
    EXPECT_NEAR(RowOf(*packed, 1)[36] / -limit.fits, 1.0, 0.004);
    if (limit.overflows == 0) continue;
    values[1 * 40 + 36] = limit.overflows;
    const Owned overflows = F32(values, 3, 40);
    const auto refused = Pack(overflows.view, limit.format);
    EXPECT_EQ(DetailsOf(refused.status()).reason, Reason::kModelFileInvalid);
    const std::string message(refused.status().message());
    EXPECT_NE(message.find("too large for"), std::string::npos) << message;
    EXPECT_NE(message.find("[1, 36]"), std::string::npos) << message;
  }
}

TEST(PackedMatrix, RefusesOtherTypesAndShapes) {
  const auto refused = [](const TensorView& view) {
    return DetailsOf(Pack(view, WeightFormat::kInt8).status()).reason;
  };
  const Owned integers("w", DType::kI8, {2, 32}, std::string(64, 'x'));
  EXPECT_EQ(refused(integers.view), Reason::kModelFileInvalid);
  const Owned vector("w", DType::kF32, {32}, std::string(128, '\0'));
  EXPECT_EQ(refused(vector.view), Reason::kModelFileInvalid);
  const Owned empty("w", DType::kF32, {0, 32}, "");
  EXPECT_EQ(refused(empty.view), Reason::kModelFileInvalid);
  const Owned torn("w", DType::kF32, {2, 32}, std::string(255, '\0'));
  EXPECT_EQ(refused(torn.view), Reason::kModelFileInvalid);
  const Owned half_block("w", DType::kQ8_0, {2, 33}, std::string(68, '\0'));
  EXPECT_EQ(refused(half_block.view), Reason::kModelFileInvalid);

  const Owned wide = F32(Normal(64), 1, 64);
  const Owned narrow = F32(Normal(32), 1, 32, "narrow");
  ThreadPool pool(1);
  const TensorView parts[] = {wide.view, narrow.view};
  const auto packed = PackedMatrix::Pack(parts, WeightFormat::kF32, Isa::kPortable, pool);
  EXPECT_NE(packed.status().message().find("narrow"), std::string::npos) << packed.status();
  EXPECT_FALSE(PackedMatrix::Pack({}, WeightFormat::kF32, Isa::kPortable, pool).ok());
}

TEST(PackedMatrix, ZeroGroupsAreZero) {
  const Owned tensor = F32(std::vector<float>(20 * 64, 0.0F), 20, 64);
  for (WeightFormat format : kFormats) {
    const auto packed = Pack(tensor.view, format);
    ASSERT_TRUE(packed.ok());
    for (float value : RowOf(*packed, 19)) EXPECT_EQ(value, 0.0F);
  }
}

}  // namespace
}  // namespace lfm2
