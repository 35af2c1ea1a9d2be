#include "model/formats/gguf.h"

#include <string>

#include "tests/base/test_files.h"
#include "tests/model/formats/gguf_builder.h"

namespace lfm2 {
namespace {

using gguf::Entry;
using gguf::File;
using gguf::Info;
using gguf::Str;

absl::Status StatusOf(const std::string& file) { return ParseGguf("f.gguf", Bytes(file)).status(); }

TEST(Gguf, ReadsEveryKindOfValue) {
  const auto file = ParseGguf(
      "f.gguf",
      Bytes(File({Entry("u8", 0, "\x07"), Entry("i32", 5, Raw<int32_t>(-3)),
                  Entry("f32", 6, Raw(1e-5f)), Entry("bool", 7, "\x01"), Entry("s", 8, Str("x")),
                  Entry("a", 9, Raw<uint32_t>(8) + Raw<uint64_t>(2) + Str("p") + Str("q")),
                  Entry("u64", 10, Raw(UINT64_MAX)), Entry("f64", 12, Raw(0.5))},
                 {Info("w", {3, 2}, 0, 0)}, 24)));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at("u8"), 7);
  EXPECT_EQ(file->metadata.at("i32"), -3);
  EXPECT_EQ(file->metadata.at("f32"), 1e-5);
  EXPECT_EQ(file->metadata.at("bool"), true);
  EXPECT_EQ(file->metadata.at("a"), (Json{"p", "q"}));
  EXPECT_EQ(file->metadata.at("u64"), UINT64_MAX);
  EXPECT_EQ(file->weights.Find("w")->shape, (std::vector<int64_t>{2, 3}));
}

TEST(Gguf, ReadsBlockTypesWhereTheyLie) {
  const std::string text = File(
      {}, {Info("a", {64, 3}, 8, 0), Info("b", {32}, 2, 416), Info("c", {32, 2}, 3, 448)}, 488);
  const auto file = ParseGguf("f.gguf", Bytes(text));
  ASSERT_TRUE(file.ok()) << file.status();
  const TensorView& a = *file->weights.Find("a");
  EXPECT_EQ(a.dtype, DType::kQ8_0);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{3, 64}));
  EXPECT_EQ(a.bytes, 3 * 2 * 34);
  EXPECT_EQ(file->weights.Find("b")->dtype, DType::kQ4_0);
  EXPECT_EQ(file->weights.Find("c")->dtype, DType::kQ4_1);
  EXPECT_EQ(a.data, Bytes(text).data() + text.size() - 488);
}

TEST(Gguf, RefusesOtherTypesByName) {
  const absl::Status status = StatusOf(File({}, {Info("w", {256}, 14, 0)}, 210));
  EXPECT_REASON("UNSUPPORTED", status);
  EXPECT_SAYS("Q6_K", status);
  EXPECT_SAYS("F32, F16, BF16, Q8_0, Q4_0, Q4_1", status);
  EXPECT_SAYS("type 77", StatusOf(File({}, {Info("w", {256}, 77, 0)}, 210)));
}

struct BadFile {
  const char* says;
  std::string file;
};

TEST(Gguf, RefusesSizesThatTheFileDoesNotHave) {
  const std::string head = "GGUF" + Raw<uint32_t>(3);
  const BadFile cases[] = {
      {"GGUF", "GGML" + Raw<uint32_t>(3)},
      {"too early", "GG"},
      {"version 1", "GGUF" + Raw<uint32_t>(1)},
      {"big-endian", "GGUF" + Raw<uint32_t>(0x03000000)},
      {"tensor count", head + Raw(UINT64_MAX) + Raw<uint64_t>(0)},
      {"metadata count", head + Raw<uint64_t>(0) + Raw(uint64_t{1} << 40)},
      {"too early", head + Raw<uint64_t>(1) + Raw<uint64_t>(0)},
      {"key length", head + Raw<uint64_t>(0) + Raw<uint64_t>(1) + Raw(UINT64_MAX) + "k"},
      {"string length", File({Entry("s", 8, Raw(UINT64_MAX - 7))}, {}, 0)},
      {"array length", File({Entry("a", 9, Raw<uint32_t>(0) + Raw(UINT64_MAX))}, {}, 0)},
      {"too early", File({Entry("a", 9, Raw<uint32_t>(10) + Raw<uint64_t>(1'000'000))}, {}, 0)},
      {"arrays of arrays", File({Entry("a", 9, Raw<uint32_t>(9) + Raw<uint64_t>(1))}, {}, 0)},
      {"value type", File({Entry("x", 13, "")}, {}, 0)},
      {"neither 0 nor 1", File({Entry("b", 7, "\x02")}, {}, 0)},
      {"appears twice", File({Entry("k", 0, "1"), Entry("k", 0, "2")}, {}, 0)},
      {"power of two", File({Entry("general.alignment", 4, Raw<uint32_t>(0))}, {}, 0)},
      {"power of two", File({Entry("general.alignment", 4, Raw<uint32_t>(48))}, {}, 0)},
      {"power of two", File({Entry("general.alignment", 8, Str("32"))}, {}, 0)},
  };
  for (const BadFile& bad : cases) {
    EXPECT_REASON("MODEL_FILE_INVALID", StatusOf(bad.file));
    EXPECT_SAYS(bad.says, StatusOf(bad.file));
  }
}

TEST(Gguf, RefusesTensorsThatDoNotFitTheFile) {
  const BadFile cases[] = {
      {"beyond the file", File({}, {Info("w", {3}, 0, 0)}, 8)},
      {"beyond the file", File({}, {Info("w", {1}, 0, 32)}, 32)},
      {"tensor offset", File({}, {Info("w", {1}, 0, UINT64_MAX - 31)}, 32)},
      {"not aligned", File({}, {Info("w", {1}, 0, 4)}, 32)},
      {"dimensions", File({}, {Info("w", {1, 1, 1, 1, 1}, 0, 0)}, 32)},
      {"dimension", File({}, {Info("w", {UINT64_MAX}, 0, 0)}, 32)},
      {"2^63", File({}, {Info("w", {uint64_t{1} << 62, 8}, 0, 0)}, 32)},
      {"2^63", File({}, {Info("w", {uint64_t{1} << 62}, 0, 0)}, 32)},
      {"whole blocks", File({}, {Info("w", {16, 2}, 8, 0)}, 34)},
      {"whole blocks", File({}, {Info("w", {}, 2, 0)}, 18)},
      {"beyond the file", File({}, {Info("w", {32}, 8, 0)}, 33)},
      {"overlaps", File({}, {Info("a", {64}, 2, 0), Info("b", {1}, 0, 32)}, 64)},
      {"overlaps", File({}, {Info("a", {16}, 0, 0), Info("b", {1}, 0, 32)}, 64)},
      {"overlaps", File({}, {Info("a", {1}, 0, 0), Info("b", {1}, 0, 0)}, 64)},
      {"appears twice", File({}, {Info("a", {1}, 0, 0), Info("a", {1}, 0, 32)}, 64)},
  };
  for (const BadFile& bad : cases) {
    EXPECT_REASON("MODEL_FILE_INVALID", StatusOf(bad.file));
    EXPECT_SAYS(bad.says, StatusOf(bad.file));
  }
}

TEST(Gguf, EveryTruncationOfTheHeaderIsRefused) {
  const std::string whole = Slurp(Golden("formats/lfm2-tiny.gguf"));
  for (size_t size = 0; size < 4096; size += 3) {
    EXPECT_FALSE(ParseGguf("f.gguf", Bytes(std::string_view(whole).substr(0, size))).ok()) << size;
  }
}

}  // namespace
}  // namespace lfm2
