#include "model/formats/gguf.h"

#include <set>
#include <string>

#include "model/arch/gguf_model.h"
#include "model/arch/model_folder.h"
#include "model/formats/dequantize.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

std::string Str(const std::string& text) { return Raw<uint64_t>(text.size()) + text; }

std::string Entry(const std::string& key, uint32_t type, const std::string& value) {
  return Str(key) + Raw(type) + value;
}

std::string Info(const std::string& name, const std::vector<uint64_t>& ne, uint32_t type,
                 uint64_t offset) {
  std::string out = Str(name) + Raw(static_cast<uint32_t>(ne.size()));
  for (uint64_t n : ne) out += Raw(n);
  return out + Raw(type) + Raw(offset);
}

// A whole file with the data section aligned to 32.
std::string File(const std::vector<std::string>& entries, const std::vector<std::string>& infos,
                 size_t data_bytes) {
  std::string out =
      "GGUF" + Raw<uint32_t>(3) + Raw<uint64_t>(infos.size()) + Raw<uint64_t>(entries.size());
  for (const std::string& entry : entries) out += entry;
  for (const std::string& info : infos) out += info;
  while (out.size() % 32 != 0) out += '\0';
  return out + std::string(data_bytes, '\x01');
}

absl::Status StatusOf(const std::string& file) { return ParseGguf("f.gguf", Bytes(file)).status(); }

TEST(Gguf, OpensTheTinyModelThatAnotherWriterMade) {
  const auto folder = OpenModelFolder(Golden("formats/lfm2-tiny.gguf"));
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_EQ(folder->format, "gguf");
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok())
      << CheckWeights(*folder->config, folder->weights);
  ModelConfig expected = *ReadModelConfig(Golden("lfm2-tiny"));
  EXPECT_EQ(*folder->config, expected);
  const auto original = ReadSafetensors(Golden("lfm2-tiny/model.safetensors"));
  for (const char* name : {"model.embed_tokens.weight", "model.layers.0.conv.conv.weight",
                           "model.embedding_norm.weight"}) {
    EXPECT_EQ(ValuesOf<float>(*folder->weights.Find(name)), ValuesOf<float>(*original->Find(name)));
  }
  EXPECT_EQ(folder->weights.Find("model.layers.0.feed_forward.w1.weight")->dtype, DType::kF16);
}

TEST(Gguf, OpensAQuantisedLlamaAndPutsTheRowsOfQAndKBack) {
  const auto folder = OpenModelFolder(Golden("formats/llama-tiny.gguf"));
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok())
      << CheckWeights(*folder->config, folder->weights);
  EXPECT_EQ(*folder->config, *ReadModelConfig(Golden("llama-tiny")));
  EXPECT_EQ(folder->tokenizer_dir, Golden("formats/llama-tiny.gguf"));
  // What the library that wrote the file says of its values.
  const auto expected = ReadNpz(Golden("formats/llama-tiny-values.npz"));
  ASSERT_TRUE(expected.ok()) << expected.status();
  std::set<DType> seen;
  for (const TensorView& want : expected->tensors) {
    const TensorView* found = folder->weights.Find(want.name);
    ASSERT_NE(found, nullptr) << want.name;
    EXPECT_EQ(found->shape, want.shape) << want.name;
    std::vector<float> values(static_cast<size_t>(*ElementsOf(found->shape)));
    Dequantize(*found, values);
    EXPECT_EQ(values, ValuesOf<float>(want)) << want.name << " " << SafetensorsName(found->dtype);
    seen.insert(found->dtype);
  }
  EXPECT_EQ(seen, (std::set<DType>{DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0,
                                   DType::kQ4_0, DType::kQ4_1}));
}

TEST(Gguf, RefusesLlamasThatItDoesNotCompute) {
  const std::pair<const char*, Json> cases[] = {
      {"llama.rope.scaling.type", "linear"},     {"llama.expert_count", 8},
      {"llama.rope.dimension_count", 8},         {"llama.attention.value_length", 32},
      {"llama.attention.sliding_window", 4096},  {"llama.attention.head_count", 3},
      {"llama.attention.head_count_kv", {2, 2}}, {"llama.block_count", 1 << 30}};
  for (const auto& [key, value] : cases) {
    auto file = ReadGguf(Golden("formats/llama-tiny.gguf"));
    file->metadata[key] = value;
    EXPECT_REASON("CONFIG_INVALID", ModelFromGguf("f.gguf", *file).status());
  }
  auto file = ReadGguf(Golden("formats/llama-tiny.gguf"));
  file->metadata["llama.rope.scaling.type"] = "none";
  file->metadata["llama.expert_count"] = 0;
  file->metadata["tokenizer.ggml.eot_token_id"] = 0;
  const auto config = ModelFromGguf("f.gguf", *file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->eos_token_ids, (std::vector<int32_t>{2, 0}));
}

TEST(Gguf, OpensTheSmallModelThatSeedsTheFuzzer) {
  const auto folder = OpenModelFolder(Golden("formats/lfm2-small.gguf"));
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok());
}

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

TEST(Gguf, RefusesOtherArchitecturesAndTensors) {
  const std::string llama = Entry("general.architecture", 8, Str("llama4"));
  const std::string lfm2 = Entry("general.architecture", 8, Str("lfm2"));
  auto other = ParseGguf("f.gguf", Bytes(File({llama}, {}, 0)));
  EXPECT_SAYS("llama4", ModelFromGguf("f.gguf", *other).status());
  EXPECT_SAYS("\"lfm2\" or \"llama\"", ModelFromGguf("f.gguf", *other).status());
  for (const char* name :
       {"x.weight", "blk.0.attn_q.bias", "blk.00.attn_q.weight", "blk.-1.attn_q.weight",
        "blk.10000.attn_q.weight", "blk.attn_q.weight", ".weight", "blk.0.weight"}) {
    const std::string file = File({lfm2}, {Info(name, {1}, 0, 0)}, 4);
    auto parsed = ParseGguf("f.gguf", Bytes(file));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_SAYS("not one of lfm2's", ModelFromGguf("f.gguf", *parsed).status());
  }
  const std::string two =
      File({lfm2},
           {Info("output_norm.weight", {1}, 0, 0), Info("token_embd_norm.weight", {1}, 0, 32)}, 36);
  auto twice = ParseGguf("f.gguf", Bytes(two));
  EXPECT_SAYS("second model.embedding_norm", ModelFromGguf("f.gguf", *twice).status());
}

TEST(Gguf, RefusesMetadataThatMakeNoConfig) {
  const std::string lfm2 = Entry("general.architecture", 8, Str("lfm2"));
  auto none = ParseGguf("f.gguf", Bytes(File({lfm2}, {}, 0)));
  EXPECT_REASON("CONFIG_INVALID", ModelFromGguf("f.gguf", *none).status());
  auto golden = ReadGguf(Golden("formats/lfm2-tiny.gguf"));
  golden->metadata["lfm2.attention.head_count_kv"] = {0, 0, 2, 4};
  EXPECT_SAYS("differs", ModelFromGguf("f.gguf", *golden).status());
}

TEST(Gguf, TakesAFeedForwardLengthOfBeforeTheAdjustment) {
  auto file = ReadGguf(Golden("formats/lfm2-tiny.gguf"));
  file->metadata["lfm2.feed_forward_length"] = 384;  // the formula gives 256; the weights have 160
  const auto config = ModelFromGguf("f.gguf", *file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->formula_intermediate_size, 256);
}

}  // namespace
}  // namespace lfm2
