#include "model/formats/tensor_archive.h"

#include "tests/formats/test_files.h"

namespace lfm2 {
namespace {

TEST(TensorArchive, NamesOfDTypesGoBothWays) {
  for (DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32,
                      DType::kI16, DType::kI8, DType::kU8, DType::kBool}) {
    EXPECT_EQ(*DTypeBySafetensorsName(SafetensorsName(dtype)), dtype);
  }
  EXPECT_EQ(SizeOf(DType::kBF16), 2);
  EXPECT_EQ(SizeOf(DType::kF64), 8);
  EXPECT_SAYS("F8_E4M3", DTypeBySafetensorsName("F8_E4M3").status());
}

TEST(TensorArchive, CountsElementsWithoutOverflow) {
  EXPECT_EQ(*ElementsOf({}), 1);
  EXPECT_EQ(*ElementsOf({2, 3}), 6);
  EXPECT_EQ(*ElementsOf({INT64_MAX, INT64_MAX, 0}), 0);
  EXPECT_EQ(*ElementsOf({INT64_MAX}), INT64_MAX);
  EXPECT_FALSE(ElementsOf({INT64_MAX, 2}).ok());
  EXPECT_FALSE(ElementsOf({int64_t{1} << 32, int64_t{1} << 32}).ok());
  EXPECT_FALSE(ElementsOf({-1, 0}).ok());
  EXPECT_EQ(ShapeToString({2, 3}), "[2, 3]");
  EXPECT_EQ(ShapeToString({}), "[]");
}

TEST(TensorArchive, BlockTypesCountWholeBlocks) {
  EXPECT_EQ(*BytesOf(DType::kF16, {3, 2}), 12);
  EXPECT_EQ(*BytesOf(DType::kF32, {}), 4);
  EXPECT_EQ(*BytesOf(DType::kQ8_0, {3, 64}), 3 * 2 * 34);
  EXPECT_EQ(*BytesOf(DType::kQ4_0, {32}), 18);
  EXPECT_EQ(*BytesOf(DType::kQ4_1, {0, 32}), 0);
  EXPECT_TRUE(IsBlockType(DType::kQ4_1));
  EXPECT_FALSE(IsBlockType(DType::kBool));
  EXPECT_SAYS("whole blocks of 32", BytesOf(DType::kQ8_0, {32, 16}).status());
  EXPECT_SAYS("whole blocks of 32", BytesOf(DType::kQ8_0, {}).status());
  EXPECT_SAYS("2^63", BytesOf(DType::kF64, {int64_t{1} << 61}).status());
  EXPECT_FALSE(DTypeBySafetensorsName("Q8_0").ok());
  EXPECT_STREQ(SafetensorsName(DType::kQ4_1), "Q4_1");
}

TEST(TensorArchive, FindsByName) {
  TensorArchive archive;
  archive.tensors.push_back(
      {.name = "a", .dtype = DType::kF32, .shape = {}, .data = nullptr, .bytes = 0});
  EXPECT_EQ(archive.Find("a"), &archive.tensors[0]);
  EXPECT_EQ(archive.Find("b"), nullptr);
}

}  // namespace
}  // namespace lfm2
