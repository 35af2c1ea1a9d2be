#include "model/formats/npz.h"

#include <string>

#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

absl::StatusOr<TensorArchive> ReadGolden(const std::string& name) {
  return ReadNpz(Golden("formats/" + name));
}

TEST(Npz, ReadsStoredAndCompressedArraysOfNumpy) {
  for (const char* name : {"arrays.npz", "arrays_compressed.npz"}) {
    const auto archive = ReadGolden(name);
    ASSERT_TRUE(archive.ok()) << archive.status();
    const std::vector<float> grid = {0, 1, 2, 3, 4, 5};
    EXPECT_EQ(ValuesOf<float>(*archive->Find("f4")), grid);
    EXPECT_EQ(archive->Find("f4")->shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(ValuesOf<double>(*archive->Find("f8")), (std::vector<double>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(archive->Find("f2")->dtype, DType::kF16);
    EXPECT_EQ(ValuesOf<int64_t>(*archive->Find("i8")), (std::vector<int64_t>{1, -2, 3}));
    EXPECT_EQ(ValuesOf<uint8_t>(*archive->Find("u1")), (std::vector<uint8_t>{0, 255}));
    EXPECT_EQ(archive->Find("bool")->dtype, DType::kBool);
    EXPECT_TRUE(archive->Find("scalar")->shape.empty());
    EXPECT_EQ(ValuesOf<float>(*archive->Find("scalar")), std::vector<float>{2.5});
    EXPECT_EQ(archive->Find("empty")->bytes, 0);
    EXPECT_EQ(archive->tensors.size(), 8u);
  }
}

TEST(Npz, ReadsEveryGolden) {
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-sequential", "hybrid-parallel",
                           "hybrid-no-attention"}) {
    const auto archive = ReadNpz(Golden(std::string(name) + "/golden.npz"));
    ASSERT_TRUE(archive.ok()) << archive.status();
    EXPECT_GT(archive->tensors.size(), 3u);
  }
}

TEST(Npz, RefusesObjectArrays) {
  const absl::Status status = ReadGolden("objects.npz").status();
  EXPECT_REASON("MODEL_FILE_INVALID", status);
  EXPECT_SAYS("Python objects", status);
}

TEST(Npz, RefusesFortranOrderAndBigEndian) {
  EXPECT_SAYS("Fortran", ReadGolden("fortran.npz").status());
  EXPECT_SAYS("big-endian", ReadGolden("big_endian.npz").status());
}

TEST(Npz, RefusesABomb) {
  EXPECT_SAYS("limit of 200 bytes out per byte in", ReadGolden("bomb.npz").status());
}

TEST(Npz, RefusesWhatIsNoZip) {
  for (const std::string& file : {std::string(), std::string("PK"), std::string(4096, 'x'),
                                  Slurp(Golden("formats/plain.safetensors"))}) {
    EXPECT_REASON("MODEL_FILE_INVALID", ParseNpz("f.npz", Bytes(file)).status());
  }
}

TEST(Npz, EveryTruncationIsRefused) {
  const std::string whole = Slurp(Golden("formats/arrays.npz"));
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::string part = whole.substr(0, size);
    EXPECT_FALSE(ParseNpz("f.npz", Bytes(part)).ok()) << size;
  }
}

TEST(Npz, AFlippedByteOfTheDataIsRefused) {
  std::string file = Slurp(Golden("formats/arrays.npz"));
  const size_t at = file.find("NUMPY") + 128;  // in the first array's data
  file[at] ^= 1;
  EXPECT_REASON("MODEL_FILE_INVALID", ParseNpz("f.npz", Bytes(file)).status());
}

TEST(Npz, RefusesMembersThatAreNoArrays) {
  EXPECT_SAYS("not a .npy", ReadNpz(Golden("formats/flat.pt")).status());
}

TEST(Npz, WritesWhatItReadsAndTheSameBytesEachTime) {
  const ScratchFolder folder;
  const auto original = ReadGolden("arrays.npz");
  ASSERT_TRUE(WriteNpz(folder / "a.npz", original->tensors).ok());
  ASSERT_TRUE(WriteNpz(folder / "b.npz", original->tensors).ok());
  EXPECT_EQ(Slurp(folder / "a.npz"), Slurp(folder / "b.npz"));
  const auto back = ReadNpz(folder / "a.npz");
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->tensors.size(), original->tensors.size());
  for (size_t i = 0; i < back->tensors.size(); ++i) {
    EXPECT_EQ(back->tensors[i].name, original->tensors[i].name);
    EXPECT_EQ(back->tensors[i].shape, original->tensors[i].shape);
    EXPECT_EQ(back->tensors[i].dtype, original->tensors[i].dtype);
    EXPECT_EQ(ValuesOf<char>(back->tensors[i]), ValuesOf<char>(original->tensors[i]));
  }
}

// CRC-32 as zip defines it, bit by bit: polynomial 0xEDB88320, reflected.
uint32_t PlainCrc32(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

template <typename T>
T FieldAt(const std::string& file, size_t at) {
  T value{};
  std::memcpy(&value, file.data() + at, sizeof(T));
  return value;
}

TEST(Npz, WritesTheStandardsChecksumOfEachMember) {
  ASSERT_EQ(PlainCrc32("123456789"), 0xCBF43926u);  // the check value
  ASSERT_EQ(PlainCrc32(""), 0u);
  const ScratchFolder folder;
  std::string data;
  for (int i = 0; i < 300; ++i) data += static_cast<char>(i * 7);
  std::vector<TensorView> tensors = {{"0", DType::kU8, {0}, nullptr, 0}};
  for (int64_t size = 1; size <= 300; ++size) {
    tensors.push_back({std::to_string(size), DType::kU8, {size}, Bytes(data).data(), size});
  }
  ASSERT_TRUE(WriteNpz(folder / "a.npz", tensors).ok());
  const std::string file = Slurp(folder / "a.npz");
  size_t at = 0;
  for (const TensorView& tensor : tensors) {
    const size_t begin =
        at + 30 + FieldAt<uint16_t>(file, at + 26) + FieldAt<uint16_t>(file, at + 28);
    const std::string member = file.substr(begin, FieldAt<uint32_t>(file, at + 22));
    ASSERT_TRUE(member.ends_with(data.substr(0, tensor.shape[0]))) << tensor.name;
    EXPECT_EQ(FieldAt<uint32_t>(file, at + 14), PlainCrc32(member)) << tensor.name;
    at = begin + member.size();
  }
}

TEST(Npz, WritesMoreMembersThanAPlainZipCounts) {
  const ScratchFolder folder;
  std::vector<TensorView> many;
  many.reserve(65'536);
  for (int i = 0; i < 65'536; ++i)
    many.push_back({std::to_string(i), DType::kF32, {0}, nullptr, 0});
  ASSERT_TRUE(WriteNpz(folder / "many.npz", many).ok());
  const auto back = ReadNpz(folder / "many.npz");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->tensors.size(), many.size());
  many.push_back({"one more", DType::kF32, {0}, nullptr, 0});
  ASSERT_TRUE(WriteNpz(folder / "many.npz", many).ok());
  EXPECT_SAYS("limit of 65536", ReadNpz(folder / "many.npz").status());
}

TEST(Npz, RefusesToWriteBFloat16AndANameTwice) {
  const ScratchFolder folder;
  const TensorView bf16[] = {{"a", DType::kBF16, {0}, nullptr, 0}};
  EXPECT_REASON("UNSUPPORTED", WriteNpz(folder / "a.npz", bf16));
  const TensorView twice[] = {{"a", DType::kF32, {0}, nullptr, 0},
                              {"a", DType::kF32, {0}, nullptr, 0}};
  EXPECT_REASON("INTERNAL", WriteNpz(folder / "a.npz", twice));
}

}  // namespace
}  // namespace lfm2
