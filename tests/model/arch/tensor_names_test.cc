#include "model/arch/tensor_names.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/model/arch/tiny_configs.h"

namespace lfm2 {
namespace {

TEST(TensorNames, GoBothWaysForEveryTensorOfEachArchitecture) {
  ModelConfig biased = testing::TinyLfm2();
  biased.conv_bias = true;
  ModelConfig parallel = testing::TinyHybrid();
  parallel.parallel_residual = true;
  for (ModelConfig config :
       {testing::TinyLfm2(), testing::TinyHybrid(), testing::TinyLlama(), biased, parallel}) {
    config.tie_word_embeddings = false;
    std::set<std::string> seen;
    for (const TensorSpec& spec : config.TensorSpecs()) {
      const std::string theirs = LlamaCppName(config.names(), spec.name);
      EXPECT_FALSE(theirs.empty()) << spec.name;
      EXPECT_TRUE(seen.insert(theirs).second) << theirs;
      const std::optional<TensorId> id = IdOfGguf(config.names(), theirs);
      ASSERT_TRUE(id) << theirs;
      EXPECT_EQ(*id, spec.id);
      EXPECT_EQ(NameOf(config.names(), *id), spec.name);
      EXPECT_EQ(IdOf(config.names(), spec.name), spec.id);
    }
  }
}

TEST(TensorNames, AreThoseThatLlamaCppWrites) {
  const ModelConfig lfm2 = testing::TinyLfm2(), hybrid = testing::TinyHybrid();
  EXPECT_EQ(LlamaCppName(lfm2.names(), "model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(LlamaCppName(lfm2.names(), "model.embedding_norm.weight"), "token_embd_norm.weight");
  EXPECT_EQ(LlamaCppName(hybrid.names(), "model.norm.weight"), "output_norm.weight");
  EXPECT_EQ(LlamaCppName(lfm2.names(), "lm_head.weight"), "output.weight");
  EXPECT_EQ(LlamaCppName(lfm2.names(), "model.layers.0.conv.in_proj.weight"),
            "blk.0.shortconv.in_proj.weight");
  EXPECT_EQ(LlamaCppName(lfm2.names(), "model.layers.12.self_attn.q_layernorm.weight"),
            "blk.12.attn_q_norm.weight");
  EXPECT_EQ(LlamaCppName(lfm2.names(), "model.layers.1.feed_forward.w3.weight"),
            "blk.1.ffn_up.weight");
  EXPECT_EQ(LlamaCppName(hybrid.names(), "model.layers.1.ssm.A_log"), "blk.1.ssm_a_log");
  EXPECT_EQ(
      LlamaCppName(testing::TinyLlama().names(), "model.layers.1.post_attention_layernorm.weight"),
      "blk.1.ffn_norm.weight");
  EXPECT_EQ(LlamaCppName(testing::TinyLlama().names(), "model.norm.weight"), "output_norm.weight");
  EXPECT_EQ(LlamaCppName(hybrid.names(), "model.layers.1.self_attn.o_proj.weight"),
            "blk.1.attn_output.weight");
}

TEST(TensorNames, KnowNothingOfTheOtherArchitectureOrOfNonsense) {
  const ModelConfig lfm2 = testing::TinyLfm2(), hybrid = testing::TinyHybrid();
  EXPECT_EQ(LlamaCppName(hybrid.names(), "model.layers.0.conv.in_proj.weight"), "");
  EXPECT_EQ(LlamaCppName(lfm2.names(), "model.layers.0.ssm.A_log"), "");
  for (const char* name : {"", "model.layers.", "model.layers.x.ffn_norm.weight", ".weight",
                           "model.layers..ffn_norm.weight", "model.layers.0"}) {
    EXPECT_EQ(LlamaCppName(lfm2.names(), name), "") << name;
    EXPECT_FALSE(IdOfGguf(lfm2.names(), name)) << name;
  }
}

}  // namespace
}  // namespace lfm2
