#include "model/formats/torch_pt.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/base/test_files.h"
#include "tests/model/formats/zip_builder.h"

namespace lfm2 {
namespace {

using Shape = std::vector<int64_t>;

absl::StatusOr<TensorArchive> ReadGolden(const std::string& name) {
  return ReadTorchPt(Golden("formats/" + name));
}

absl::StatusOr<TensorArchive> Parse(const std::string& pickle, const std::string& storage) {
  const std::string file = Zip({{"archive/data.pkl", pickle}, {"archive/data/0", storage}});
  return ParseTorchPt("f.pt", Bytes(file));
}

std::string Text(const std::string& text) {
  return "X" + Raw(static_cast<uint32_t>(text.size())) + text;
}

std::string Int(int32_t value) { return "J" + Raw(value); }

std::string Tuple(const std::vector<int32_t>& values) {
  std::string out = "(";
  for (int32_t value : values) out += Int(value);
  return out + "t";
}

// One tensor of float32 over storage "0".
std::string Tensor(int32_t elements, int32_t offset, const std::vector<int32_t>& shape,
                   const std::vector<int32_t>& strides) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + Text("storage") + "ctorch\nFloatStorage\n" +
         Text("0") + Text("cpu") + Int(elements) + "tQ" + Int(offset) + Tuple(shape) +
         Tuple(strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

std::string DictOf(const std::string& name, const std::string& value) {
  return "\x80\x02}" + Text(name) + value + "s.";
}

TEST(TorchPt, ReadsAStateDictOfEveryKindOfTensor) {
  const auto archive = ReadGolden("flat.pt");
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(archive->tensors.size(), 7u);
  const TensorView* a = archive->Find("model.a.weight");
  EXPECT_EQ(a->shape, (Shape{3, 4}));
  EXPECT_EQ(ValuesOf<float>(*a), (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(archive->Find("model.b.weight")->dtype, DType::kBF16);
  EXPECT_EQ(ValuesOf<uint16_t>(*archive->Find("model.b.weight"))[8], 0x3F80);
  EXPECT_EQ(ValuesOf<uint16_t>(*archive->Find("model.c.weight"))[8], 0x3C00);
  EXPECT_EQ(ValuesOf<int64_t>(*archive->Find("model.ids")), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_TRUE(archive->Find("model.scalar")->shape.empty());
  EXPECT_EQ(archive->Find("model.empty")->shape, (Shape{0, 3}));
  EXPECT_EQ(archive->Find("model.tied.weight")->data, a->data) << "shared storage is not shared";
}

TEST(TorchPt, StripsAKeyThatWrapsTheWhole) {
  const auto wrapped = ReadGolden("wrapped.pt");
  ASSERT_TRUE(wrapped.ok()) << wrapped.status();
  EXPECT_NE(wrapped->Find("model.a.weight"), nullptr);
  EXPECT_EQ(wrapped->metadata.at("skipped"), "step, lr");
  const auto model = ReadGolden("wrapped_model.pt");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NE(model->Find("model.a.weight"), nullptr);
}

TEST(TorchPt, ReadsAnOrderedDict) {
  const auto archive = ReadGolden("ordered_dict.pt");
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(archive->Find("weight")->shape, (Shape{2, 3}));
  EXPECT_EQ(archive->Find("bias")->shape, (Shape{2}));
}

TEST(TorchPt, CopiesViewsToRowMajor) {
  const auto archive = ReadGolden("nested.pt");
  ASSERT_TRUE(archive.ok()) << archive.status();
  const TensorView* transposed = archive->Find("model.layers.0.w");
  ASSERT_NE(transposed, nullptr);
  EXPECT_EQ(transposed->shape, (Shape{4, 3}));
  EXPECT_EQ(ValuesOf<float>(*transposed),
            (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_EQ(ValuesOf<float>(*archive->Find("model.layers.1.w")), (std::vector<float>{5, 6, 9, 10}));
  EXPECT_EQ(ValuesOf<float>(*archive->Find("expanded")), (std::vector<float>{1, 2, 1, 2, 1, 2}));
  EXPECT_EQ(archive->Find("parameter")->shape, (Shape{3, 4}));
  EXPECT_EQ(archive->metadata.at("skipped"), "name");
}

TEST(TorchPt, RefusesEveryOtherGlobal) {
  for (const char* global : {"os\nsystem\n", "posix\nsystem\n", "builtins\neval\n",
                             "torch\nfloat32\n", "torch.jit\nload\n", "\n\n"}) {
    const absl::Status status = Parse(
                                    "\x80\x02"
                                    "c" +
                                        std::string(global) + Text("echo pwned") + "\x85R.",
                                    "")
                                    .status();
    EXPECT_REASON("MODEL_FILE_INVALID", status);
    EXPECT_SAYS("refused", status);
  }
  EXPECT_SAYS("os system", Parse("\x80\x04"
                                 "\x8c\x02os\x8c\x06system\x93.",
                                 "")
                               .status());
  EXPECT_SAYS("torch float32", ReadGolden("other_global.pt").status());
}

TEST(TorchPt, RefusesOpcodesThatBuildObjects) {
  for (const char opcode : {'i', 'o', '\x81', '\x92', 'P', '\x82', 'I', 'S', '0', '2'}) {
    const std::string pickle = std::string("\x80\x02(}") + opcode + ".";
    EXPECT_SAYS("opcode", Parse(pickle, "").status());
  }
}

TEST(TorchPt, RefusesTheFormatOfBeforeZip) {
  EXPECT_SAYS("not a zip", ReadGolden("legacy.pt").status());
}

TEST(TorchPt, ChecksEveryTensorAgainstItsStorage) {
  const std::string four(16, '\x01');
  EXPECT_TRUE(Parse(DictOf("w", Tensor(4, 0, {2, 2}, {2, 1})), four).ok());
  const std::string bad[] = {
      Tensor(4, 1, {2, 2}, {2, 1}),
      Tensor(4, 0, {2, 2}, {3, 1}),
      Tensor(5, 0, {2, 2}, {2, 1}),
      Tensor(-1, 0, {2, 2}, {2, 1}),
      Tensor(4, -1, {2, 2}, {2, 1}),
      Tensor(4, 0, {-2, 2}, {2, 1}),
      Tensor(4, 0, {2, 2}, {-2, 1}),
      Tensor(4, 0, {2, 2}, {1}),
      Tensor(4, 0, {2147483647, 2147483647, 2147483647}, {0, 0, 0}),
      Tensor(4, 0, {2, 2147483647, 3}, {2147483647, 2147483647, 1}),
  };
  for (const std::string& tensor : bad) {
    EXPECT_REASON("MODEL_FILE_INVALID", Parse(DictOf("w", tensor), four).status());
  }
}

TEST(TorchPt, RefusesAnExpansionBeyondTheLimit) {
  EXPECT_SAYS("expands", Parse(DictOf("w", Tensor(1, 0, {1'000'000}, {0})), "1234").status());
}

TEST(TorchPt, RefusesSelfReferenceAndDeepNesting) {
  // A list that holds itself.
  EXPECT_SAYS("nested deeper", Parse("\x80\x02]q\x01h\x01"
                                     "a.",
                                     "")
                                   .status());
  std::string deep = "\x80\x02";
  for (int i = 0; i < 100'000; ++i) deep += "]";
  for (int i = 1; i < 100'000; ++i) deep += "a";
  EXPECT_SAYS("nested deeper", Parse(deep + ".", "").status());
}

TEST(TorchPt, RefusesSharedValuesThatMultiply) {
  // Each list holds the one before twice: 2^50 values to walk.
  std::string pickle("\x80\x02(]q\x00", 6);
  for (int level = 0; level < 50; ++level) {
    const std::string before(1, static_cast<char>(level));
    absl::StrAppend(&pickle, "](h", before, "h", before, "eq");
    pickle += static_cast<char>(level + 1);
  }
  EXPECT_SAYS("too many values", Parse(pickle + "t.", "").status());
}

TEST(TorchPt, RefusesBrokenPickles) {
  for (const std::string& pickle : {std::string(),
                                    std::string("."),
                                    std::string("("),
                                    std::string("(."),
                                    std::string("t."),
                                    std::string("s."),
                                    std::string("e."),
                                    std::string("}s."),
                                    std::string("}Ns."),
                                    std::string("h\x01."),
                                    std::string("q\x01."),
                                    std::string("R."),
                                    std::string("Q."),
                                    std::string("NQ."),
                                    std::string("b."),
                                    std::string("NNb."),
                                    std::string("X\xff\xff\xff\xff."),
                                    std::string("\x8d\xff\xff\xff\xff\xff\xff\xff\xff."),
                                    std::string("}NN."),
                                    std::string("(Nu."),
                                    std::string("N(Ne."),
                                    std::string("\x8a\x09"
                                                "123456789."),
                                    std::string("cnolines"),
                                    std::string("NNR.")}) {
    EXPECT_REASON("MODEL_FILE_INVALID", Parse(pickle, "").status());
  }
}

TEST(TorchPt, RefusesANameTwiceAndAMissingStorage) {
  const std::string tensor = Tensor(1, 0, {1}, {1});
  const std::string twice = "\x80\x02}" + Text("w") + tensor + "s" + Text("w") + tensor + "s.";
  EXPECT_SAYS("appears twice", Parse(twice, "1234").status());
  const std::string file = Zip({{"archive/data.pkl", DictOf("w", tensor)}});
  EXPECT_SAYS("lacks", ParseTorchPt("f.pt", Bytes(file)).status());
}

TEST(TorchPt, RefusesZipsThatTorchDidNotWrite) {
  EXPECT_SAYS("no data.pkl", ReadGolden("arrays.npz").status());
  const std::string big = Zip({{"a/data.pkl", "}."}, {"a/byteorder", "big"}});
  EXPECT_SAYS("big-endian", ParseTorchPt("f.pt", Bytes(big)).status());
  const std::string two = Zip({{"a/data.pkl", "}."}, {"b/data.pkl", "}."}});
  EXPECT_SAYS("second data.pkl", ParseTorchPt("f.pt", Bytes(two)).status());
}

}  // namespace
}  // namespace lfm2
