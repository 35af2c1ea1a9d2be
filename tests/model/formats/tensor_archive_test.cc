#include "model/formats/tensor_archive.h"

#include <fcntl.h>

#include "model/formats/safetensors.h"
#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

// Of the pages that a view touches, how many this process has in memory now.
int64_t PagesPresent(const TensorView& view) {
  constexpr int64_t kPresent = 63;  // the bit of an entry of /proc/self/pagemap
  const int64_t page = sysconf(_SC_PAGESIZE);
  const auto begin = static_cast<int64_t>(reinterpret_cast<intptr_t>(view.data));
  const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  int64_t present = 0;
  for (int64_t n = begin / page; n <= (begin + view.bytes - 1) / page; ++n) {
    uint64_t entry = 0;
    EXPECT_EQ(pread(pagemap, &entry, sizeof(entry), n * static_cast<int64_t>(sizeof(entry))), 8);
    present += static_cast<int64_t>((entry >> kPresent) & 1U);
  }
  close(pagemap);
  return present;
}

TEST(TensorArchive, FloatingPointAreTheFloatsAndTheBlocks) {
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0,
                            DType::kQ4_0, DType::kQ4_1}) {
    EXPECT_TRUE(IsFloatingPoint(dtype)) << SafetensorsName(dtype);
  }
  for (const DType dtype :
       {DType::kI64, DType::kI32, DType::kI16, DType::kI8, DType::kU8, DType::kBool}) {
    EXPECT_FALSE(IsFloatingPoint(dtype)) << SafetensorsName(dtype);
  }
}

TEST(TensorArchive, ForgottenPagesLeaveMemoryAndAreReadAgain) {
  const ScratchFolder folder;
  const std::vector<int32_t> a(1 << 18, 7), b(1 << 18, 9);
  const auto view_of = [](const char* name, const std::vector<int32_t>& values) {
    return TensorView{
        name, DType::kI32, {1 << 18}, reinterpret_cast<const std::byte*>(values.data()), 1 << 20};
  };
  const TensorView tensors[] = {view_of("a", a), view_of("b", b)};
  ASSERT_TRUE(WriteSafetensors(folder / "m.safetensors", tensors, {}).ok());
  const auto archive = ReadSafetensors(folder / "m.safetensors");
  ASSERT_TRUE(archive.ok()) << archive.status();
  const TensorView &first = *archive->Find("a"), &second = *archive->Find("b");
  EXPECT_EQ(ValuesOf<int32_t>(first), a);
  EXPECT_EQ(ValuesOf<int32_t>(second), b);
  const int64_t beside = PagesPresent(second);
  EXPECT_GE(beside, 256);
  archive->ForgetPages(first);
  EXPECT_LE(PagesPresent(first), 2);  // the ends, which its neighbours share
  EXPECT_EQ(PagesPresent(second), beside);
  EXPECT_EQ(ValuesOf<int32_t>(first), a);
}

TEST(TensorArchive, ForgetsNothingThatIsNoMappedFile) {
  std::vector<int32_t> values(1 << 18, 7);
  TensorArchive archive;
  archive.tensors.push_back(
      {"a", DType::kI32, {1 << 18}, reinterpret_cast<const std::byte*>(values.data()), 1 << 20});
  archive.ForgetPages(archive.tensors[0]);
  EXPECT_EQ(values, std::vector<int32_t>(1 << 18, 7));
}

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
