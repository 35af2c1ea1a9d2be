#include "model/arch/gguf_model.h"

#include <set>
#include <string>

#include "model/arch/model_folder.h"
#include "model/formats/dequantize.h"
#include "model/formats/npz.h"
#include "model/formats/safetensors.h"
#include "tests/base/test_files.h"
#include "tests/model/formats/gguf_builder.h"

namespace lfm2 {
namespace {

using gguf::Entry;
using gguf::File;
using gguf::Info;
using gguf::Str;

TEST(GgufModel, OpensTheTinyModelThatAnotherWriterMade) {
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

TEST(GgufModel, OpensAQuantisedLlamaAndPutsTheRowsOfQAndKBack) {
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

TEST(GgufModel, RefusesLlamasThatItDoesNotCompute) {
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

TEST(GgufModel, OpensTheSmallModelThatSeedsTheFuzzer) {
  const auto folder = OpenModelFolder(Golden("formats/lfm2-small.gguf"));
  ASSERT_TRUE(folder.ok()) << folder.status();
  EXPECT_TRUE(CheckWeights(*folder->config, folder->weights).ok());
}

TEST(GgufModel, RefusesOtherArchitecturesAndTensors) {
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
    EXPECT_SAYS("is not a tensor of lfm2 models", ModelFromGguf("f.gguf", *parsed).status());
  }
  const std::string two =
      File({lfm2},
           {Info("output_norm.weight", {1}, 0, 0), Info("token_embd_norm.weight", {1}, 0, 32)}, 36);
  auto twice = ParseGguf("f.gguf", Bytes(two));
  EXPECT_SAYS("is a duplicate of model.embedding_norm", ModelFromGguf("f.gguf", *twice).status());
}

TEST(GgufModel, RefusesMetadataThatMakeNoConfig) {
  const std::string lfm2 = Entry("general.architecture", 8, Str("lfm2"));
  auto none = ParseGguf("f.gguf", Bytes(File({lfm2}, {}, 0)));
  EXPECT_REASON("CONFIG_INVALID", ModelFromGguf("f.gguf", *none).status());
  auto golden = ReadGguf(Golden("formats/lfm2-tiny.gguf"));
  golden->metadata["lfm2.attention.head_count_kv"] = {0, 0, 2, 4};
  EXPECT_SAYS("differs", ModelFromGguf("f.gguf", *golden).status());
}

TEST(GgufModel, TakesAFeedForwardLengthOfBeforeTheAdjustment) {
  auto file = ReadGguf(Golden("formats/lfm2-tiny.gguf"));
  file->metadata["lfm2.feed_forward_length"] = 384;  // the formula gives 256; the weights have 160
  const auto config = ModelFromGguf("f.gguf", *file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->formula_intermediate_size, 256);
}

}  // namespace
}  // namespace lfm2
