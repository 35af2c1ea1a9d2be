#include "model/formats/safetensors.h"

#include <string>

#include "base/json.h"
#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

std::string File(const std::string& header, size_t data_bytes) {
  return Raw<uint64_t>(header.size()) + header + std::string(data_bytes, '\x01');
}

absl::Status StatusOf(const std::string& header, size_t data_bytes) {
  return ParseSafetensors("f.safetensors", Bytes(File(header, data_bytes))).status();
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

const std::string kA = Entry("a", "F32", "[2]", "[0,8]");

TEST(Safetensors, ReadsAFileOfTheReferenceImplementation) {
  const auto archive = ReadSafetensors(Golden("formats/plain.safetensors"));
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(archive->metadata.at("format"), "pt");
  const TensorView* a = archive->Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(ValuesOf<float>(*a), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(archive->Find("b")->dtype, DType::kBF16);
  EXPECT_EQ(ValuesOf<int64_t>(*archive->Find("c")), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
}

TEST(Safetensors, WritesWhatItReads) {
  const ScratchFolder folder;
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-parallel"}) {
    const auto original = ReadSafetensors(Golden(std::string(name) + "/model.safetensors"));
    ASSERT_TRUE(original.ok()) << original.status();
    ASSERT_TRUE(WriteSafetensors(folder / "m.safetensors", original->tensors, {{"k", "v"}}).ok());
    const auto back = ReadSafetensors(folder / "m.safetensors");
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(back->metadata.at("k"), "v");
    ASSERT_EQ(back->tensors.size(), original->tensors.size());
    for (size_t i = 0; i < back->tensors.size(); ++i) {
      EXPECT_EQ(back->tensors[i].name, original->tensors[i].name);
      EXPECT_EQ(ValuesOf<char>(back->tensors[i]), ValuesOf<char>(original->tensors[i]));
    }
  }
}

TEST(Safetensors, AlignsTheDataToEightBytes) {
  const ScratchFolder folder;
  const float value = 1;
  const TensorView tensor = {
      "abc", DType::kF32, {1}, reinterpret_cast<const std::byte*>(&value), 4};
  ASSERT_TRUE(WriteSafetensors(folder / "m.safetensors", {&tensor, 1}, {}).ok());
  EXPECT_EQ((Slurp(folder / "m.safetensors").size() - 4) % 8, 0u);
}

TEST(Safetensors, RefusesToWriteANameTwice) {
  const ScratchFolder folder;
  const TensorView tensor = {"a", DType::kF32, {0}, nullptr, 0};
  const TensorView twice[] = {tensor, tensor};
  EXPECT_FALSE(WriteSafetensors(folder / "m.safetensors", twice, {}).ok());
}

TEST(Safetensors, TakesTensorsInAnyHeaderOrderAndEmptyOnes) {
  EXPECT_TRUE(StatusOf("{" + kA + "}", 8).ok());
  EXPECT_TRUE(StatusOf("{" + Entry("b", "U8", "[3]", "[8,11]") + "," + kA + "}", 11).ok());
  EXPECT_TRUE(StatusOf("{" + kA + "," + Entry("e", "F32", "[0,4]", "[8,8]") + "}", 8).ok());
  EXPECT_TRUE(StatusOf("{}", 0).ok());
  EXPECT_TRUE(StatusOf("{" + Entry("s", "F64", "[]", "[0,8]") + "}   ", 8).ok());
}

struct BadHeader {
  const char* says;
  std::string header;
  size_t data_bytes;
};

TEST(Safetensors, RefusesRangesThatDoNotTileTheData) {
  const BadHeader cases[] = {
      {"do not belong to any tensor", "{" + kA + "}", 9},
      {"hole", "{" + Entry("a", "F32", "[2]", "[4,12]") + "}", 12},
      {"overlap", "{" + kA + "," + Entry("b", "F32", "[2]", "[4,12]") + "}", 12},
      {"overlap", "{" + kA + "," + Entry("b", "F32", "[2]", "[0,8]") + "}", 8},
      {"data_offsets", "{" + kA + "}", 7},
      {"data_offsets", "{" + Entry("a", "F32", "[2]", "[8,0]") + "}", 8},
      {"data_offsets", "{" + Entry("a", "F32", "[2]", "[0,18446744073709551615]") + "}", 8},
      {"data_offsets", "{" + Entry("a", "F32", "[2]", "[-8,0]") + "}", 8},
      {"data_offsets", "{" + Entry("a", "F32", "[2]", "[0,8,8]") + "}", 8},
      {"data_offsets", "{" + Entry("a", "F32", "[2]", "[0,8.0]") + "}", 8},
  };
  for (const BadHeader& bad : cases) {
    const absl::Status status = StatusOf(bad.header, bad.data_bytes);
    EXPECT_REASON("MODEL_FILE_INVALID", status);
    EXPECT_SAYS(bad.says, status);
    EXPECT_EQ(DetailsOf(status).metadata.count("offset"), 1u);
    EXPECT_EQ(DetailsOf(status).metadata.at("file"), "f.safetensors");
  }
}

TEST(Safetensors, RefusesHeadersThatBreakARule) {
  const BadHeader cases[] = {
      {"another number", "{" + Entry("a", "F32", "[3]", "[0,8]") + "}", 8},
      {"elements", "{" + Entry("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", 8},
      {"another number", "{" + Entry("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0},
      {"F8_E4M3", "{" + Entry("a", "F8_E4M3", "[8]", "[0,8]") + "}", 8},
      {"shape", "{" + Entry("a", "F32", "[-2]", "[0,8]") + "}", 8},
      {"shape", "{" + Entry("a", "F32", "\"2\"", "[0,8]") + "}", 8},
      {"appears twice", "{" + kA + "," + kA + "}", 8},
      {"dtype, shape", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8},
      {"dtype, shape", R"({"a":[]})", 0},
      {"not a string", R"({"__metadata__":{"a":1}})", 0},
      {"not an object", R"({"__metadata__":[]})", 0},
      {"begin with", " {}", 0},
      {"begin with", "", 0},
      {"header", "{", 0},
      {"deeper", R"({"a":{"shape":[[[[1]]]]}})", 0},
  };
  for (const BadHeader& bad : cases) {
    const absl::Status status = StatusOf(bad.header, bad.data_bytes);
    EXPECT_REASON("MODEL_FILE_INVALID", status);
    EXPECT_SAYS(bad.says, status);
  }
}

TEST(Safetensors, RefusesHeaderLengthsBeyondTheFileOrTheLimit) {
  for (const std::string& file :
       {std::string(), std::string("1234567"), Raw<uint64_t>(3) + "{}",
        Raw<uint64_t>(UINT64_MAX) + "{}",
        Raw<uint64_t>(static_cast<uint64_t>(kDefaultLimits.safetensors_header_bytes) + 1) + "{}"}) {
    EXPECT_REASON("MODEL_FILE_INVALID", ParseSafetensors("f", Bytes(file)).status());
  }
}

TEST(Safetensors, RefusesMoreTensorsThanTheLimit) {
  std::string header = "{";
  for (int64_t i = 0; i <= kDefaultLimits.tensors_per_file + 1; ++i) {
    if (i > 0) header += ",";
    header += Entry(std::to_string(i), "F32", "[0]", "[0,0]");
  }
  EXPECT_SAYS("limit of 65536", StatusOf(header + "}", 0));
}

class Shards : public ::testing::Test {
 protected:
  Shards() {
    Spill(folder_ / "m-1.safetensors", File("{" + kA + "}", 8));
    Spill(folder_ / "m-2.safetensors", File("{" + Entry("b", "U8", "[2]", "[0,2]") + "}", 2));
  }
  absl::StatusOr<TensorArchive> Read(const std::string& map) {
    Spill(folder_ / "model.safetensors.index.json", "{\"weight_map\":" + map + "}");
    return ReadSafetensors(folder_ / "model.safetensors.index.json");
  }
  ScratchFolder folder_;
};

TEST_F(Shards, AreReadThroughTheirIndex) {
  const auto archive = Read(R"({"a":"m-1.safetensors","b":"m-2.safetensors"})");
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(archive->tensors.size(), 2u);
  EXPECT_EQ(archive->owners.size(), 2u);
}

TEST_F(Shards, MustAgreeWithTheirIndex) {
  EXPECT_SAYS("does not place", Read(R"({"b":"m-2.safetensors","c":"m-1.safetensors"})").status());
  EXPECT_SAYS(
      "does not hold",
      Read(R"({"a":"m-1.safetensors","c":"m-1.safetensors","b":"m-2.safetensors"})").status());
  EXPECT_REASON("FILE_NOT_FOUND", Read(R"({"a":"m-3.safetensors"})").status());
}

TEST_F(Shards, HavePlainNames) {
  EXPECT_REASON("PATH_OUTSIDE_ROOT", Read(R"({"a":"../m-1.safetensors"})").status());
  EXPECT_REASON("PATH_OUTSIDE_ROOT", Read(R"({"a":"/etc/passwd"})").status());
  EXPECT_REASON("MODEL_FILE_INVALID", Read("{\"a\":1}").status());
  EXPECT_REASON("MODEL_FILE_INVALID", Read("[]").status());
}

}  // namespace
}  // namespace lfm2
