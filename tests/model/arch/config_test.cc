#include "model/arch/config.h"

#include <set>
#include <string>

#include "base/json.h"
#include "model/arch/registry.h"
#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

Json Released(int64_t hidden, int64_t width, int64_t heads) {
  return {{"model_type", "lfm2"},
          {"vocab_size", 65536},
          {"hidden_size", hidden},
          {"intermediate_size", width},
          {"num_hidden_layers", 16},
          {"num_attention_heads", heads},
          {"num_key_value_heads", 8},
          {"full_attn_idxs", {2, 5, 8, 10, 12, 14}},
          {"block_auto_adjust_ff_dim", true},
          {"block_ffn_dim_multiplier", 1.0},
          {"block_multiple_of", 256},
          {"bos_token_id", 1},
          {"eos_token_id", 7},
          {"pad_token_id", 0}};
}

Json Small() {
  Json config = Released(64, 192, 4);
  config["num_hidden_layers"] = 3;
  config["num_key_value_heads"] = 2;
  config["full_attn_idxs"] = {1};
  return config;
}

Json Hybrid() {
  return {{"model_type", "lfm2_ssm_hybrid"}, {"vocab_size", 256},        {"hidden_size", 64},
          {"num_hidden_layers", 4},          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
          {"intermediate_size", 160},        {"ssm_state_size", 16},     {"attn_every", 2}};
}

Json Llama() {
  return {{"model_type", "llama"},     {"vocab_size", 49152},         {"hidden_size", 576},
          {"intermediate_size", 1536}, {"num_hidden_layers", 30},     {"num_attention_heads", 9},
          {"num_key_value_heads", 3},  {"tie_word_embeddings", true}, {"rms_norm_eps", 1e-5}};
}

absl::StatusOr<ModelConfig> Parse(const Json& json) { return ParseModelConfig(json.dump()); }

absl::Status StatusWith(Json json, const std::string& key, const Json& value) {
  json[key] = value;
  return Parse(json).status();
}

TEST(Config, CountsTheParametersOfTheReleasedSizesExactly) {
  EXPECT_EQ(Parse(Released(1024, 6656, 16))->ParameterCount(), 354'483'968);
  EXPECT_EQ(Parse(Released(1536, 10240, 24))->ParameterCount(), 742'489'344);
  EXPECT_EQ(Parse(Released(2048, 12288, 32))->ParameterCount(), 1'170'340'608);
}

TEST(Config, ComputesTheWidthAsTransformersDoes) {
  EXPECT_EQ(Parse(Released(1024, 6656, 16))->intermediate_size, 4608);
  EXPECT_EQ(Parse(Released(1536, 10240, 24))->intermediate_size, 6912);
  EXPECT_EQ(Parse(Released(2048, 12288, 32))->intermediate_size, 8192);
  Json fixed = Small();
  fixed["block_auto_adjust_ff_dim"] = false;
  EXPECT_EQ(Parse(fixed)->intermediate_size, 192);
  EXPECT_FALSE(Parse(fixed)->formula_intermediate_size.has_value());
  Json no_rounding = Small();
  no_rounding["intermediate_size"] = 100;
  no_rounding["block_ffn_dim_multiplier"] = nullptr;
  EXPECT_EQ(Parse(no_rounding)->intermediate_size, 66);
}

TEST(Config, ReadsLlamaAndCountsTheParametersOfSmolLm2) {
  const auto config = Parse(Llama());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->ParameterCount(), 134'515'008);
  EXPECT_EQ(config->rope_theta, 1e4);
  EXPECT_EQ(config->max_position_embeddings, 2048);
  EXPECT_EQ(config->norm_eps, 1e-5);
  EXPECT_FALSE(config->qk_norm);
  EXPECT_EQ(config->Module(Role::kFinalNorm), "model.norm");
  const Layer layer = config->Layers()[29];
  ASSERT_EQ(layer.size(), 2u);
  EXPECT_EQ(config->Module(layer[0].norm, 29), "model.layers.29.input_layernorm");
  EXPECT_EQ(layer[0].branches[0].prefix, "self_attn");
  EXPECT_EQ(config->Module(layer[1].norm, 29), "model.layers.29.post_attention_layernorm");
  EXPECT_EQ(layer[1].branches[0].prefix, "mlp");
  Json defaults = Llama();
  for (const char* key : {"tie_word_embeddings", "rms_norm_eps", "num_key_value_heads"})
    defaults.erase(key);
  EXPECT_FALSE(Parse(defaults)->tie_word_embeddings);
  EXPECT_EQ(Parse(defaults)->norm_eps, 1e-6);
  EXPECT_EQ(Parse(defaults)->num_key_value_heads, 9);
}

TEST(Config, RefusesLlamasThatItDoesNotComputeWithTheirValues) {
  EXPECT_SAYS("mlp_bias is true", StatusWith(Llama(), "mlp_bias", true));
  EXPECT_SAYS("attention_bias is true", StatusWith(Llama(), "attention_bias", true));
  EXPECT_SAYS("llama3",
              StatusWith(Llama(), "rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}));
  EXPECT_SAYS("linear", StatusWith(Llama(), "rope_scaling", {{"type", "linear"}, {"factor", 2}}));
  EXPECT_TRUE(StatusWith(Llama(), "rope_scaling", nullptr).ok());
  EXPECT_SAYS("gelu", StatusWith(Llama(), "hidden_act", "gelu"));
  EXPECT_SAYS("rope_interleaved", StatusWith(Llama(), "rope_interleaved", true));
}

TEST(Config, ArchitecturesHaveNamesBothWays) {
  ASSERT_GE(AllArchitectures().size(), 3U);
  for (size_t i = 0; i < AllArchitectures().size(); ++i) {
    const auto architecture = static_cast<Architecture>(i);
    EXPECT_EQ(SpecOf(architecture).id, architecture);
    EXPECT_EQ(ArchitectureByName(NameOf(architecture)), architecture);
  }
  EXPECT_EQ(ArchitectureByName("mamba"), std::nullopt);
}

TEST(Config, ReadsEveryGoldenConfig) {
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-sequential", "hybrid-parallel",
                           "hybrid-no-attention", "llama-tiny"}) {
    const auto config = ParseModelConfig(Slurp(Golden(std::string(name) + "/config.json")));
    ASSERT_TRUE(config.ok()) << name << ": " << config.status();
    EXPECT_EQ(config->head_dim, 16) << name;
  }
}

TEST(Config, AcceptsLegacyKeys) {
  Json legacy = Small();
  legacy.erase("hidden_size");
  legacy.erase("intermediate_size");
  legacy["block_dim"] = 64;
  legacy["block_ff_dim"] = 192;
  legacy["theta"] = 500000.0;
  legacy["tie_embedding"] = false;
  legacy["block_norm_eps"] = 1e-6;
  const auto config = Parse(legacy);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->intermediate_size, 256);
  EXPECT_EQ(config->rope_theta, 500000.0);
  EXPECT_EQ(config->norm_eps, 1e-6);
  EXPECT_FALSE(config->tie_word_embeddings);
}

TEST(Config, RefusesALegacyKeyThatContradictsItsModernKey) {
  for (const auto& [key, value] : std::map<std::string, Json>{
           {"block_dim", 128}, {"block_ff_dim", 160}, {"conv_dim", 128}, {"num_heads", 8}}) {
    const absl::Status status = StatusWith(Small(), key, value);
    EXPECT_REASON("CONFIG_INVALID", status);
    EXPECT_SAYS(key, status);
    EXPECT_SAYS("contradicts", status);
  }
  Json theta = Small();
  theta["rope_theta"] = 1e6;
  EXPECT_REASON("CONFIG_INVALID", StatusWith(theta, "theta", 1e4));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(theta, "rope_parameters",
                                             {{"rope_theta", 1e4}, {"rope_type", "default"}}));
  EXPECT_REASON("CONFIG_INVALID",
                StatusWith(Small(), "layer_types", {"full_attention", "conv", "conv"}));
}

TEST(Config, ReadsRopeThetaFromEachPlaceAndRefusesScaling) {
  EXPECT_EQ(Parse(Small())->rope_theta, 1e6);
  EXPECT_EQ(Parse(Hybrid())->rope_theta, 1e4);
  Json nested = Small();
  nested["rope_parameters"] = {{"rope_theta", 2e6}, {"rope_type", "default"}};
  EXPECT_EQ(Parse(nested)->rope_theta, 2e6);
  nested["rope_parameters"]["rope_type"] = "yarn";
  EXPECT_REASON("CONFIG_INVALID", Parse(nested).status());
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "rope_theta", -1));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "rope_theta", "1e6"));
}

TEST(Config, TakesOneEosIdOrAList) {
  EXPECT_EQ(Parse(Small())->eos_token_id, 7);
  Json list = Small();
  list["eos_token_id"] = {7, 2};
  EXPECT_EQ(Parse(list)->eos_token_id, 7);
  EXPECT_EQ(Parse(list)->eos_token_ids, (std::vector<int32_t>{7, 2}));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "eos_token_id", 65536));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "eos_token_id", {7, -1}));
}

TEST(Config, RefusesOtherModelsWithTheirKind) {
  for (const auto& [type, word] :
       std::map<std::string, std::string>{{"lfm2_moe", "mixture of experts"},
                                          {"lfm2_vl", "vision"},
                                          {"lfm2_audio", "audio"},
                                          {"lfm3", "LFM3"},
                                          {"mistral", "\"mistral\" is not supported"}}) {
    const absl::Status status = StatusWith(Small(), "model_type", type);
    EXPECT_REASON("CONFIG_INVALID", status);
    EXPECT_SAYS(word, status);
  }
  Json none = Small();
  none.erase("model_type");
  EXPECT_REASON("CONFIG_INVALID", Parse(none).status());
}

TEST(Config, RefusesArithmeticThatItDoesNotCompute) {
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "quantization_config", Json::object()));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "sliding_window", 128));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "hidden_act", "gelu"));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "attention_bias", true));
}

TEST(Config, BoundsEverySize) {
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_key_value_heads", "conv_L_cache"}) {
    for (const Json& bad : {Json(0), Json(-1), Json(int64_t{1} << 40), Json(UINT64_MAX), Json(1.5),
                            Json("64"), Json(true), Json::array()}) {
      const absl::Status status = StatusWith(Small(), key, bad);
      EXPECT_REASON("CONFIG_INVALID", status);
      EXPECT_SAYS(key, status);
    }
  }
}

TEST(Config, TakesTheLimitsThemselvesAndRefusesOneMore) {
  Json vocab = Small();
  vocab["vocab_size"] = kDefaultLimits.vocab_size;
  EXPECT_TRUE(Parse(vocab).ok());
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "vocab_size", kDefaultLimits.vocab_size + 1));
  Json layers = Small();
  layers["num_hidden_layers"] = kDefaultLimits.layers;
  EXPECT_TRUE(Parse(layers).ok());
  EXPECT_REASON("CONFIG_INVALID",
                StatusWith(Small(), "num_hidden_layers", kDefaultLimits.layers + 1));
}

TEST(Config, ReportsEveryViolationAtOnce) {
  Json bad = Small();
  bad["vocab_size"] = -5;
  bad["conv_L_cache"] = 0;
  bad.erase("num_attention_heads");
  EXPECT_GE(DetailsOf(Parse(bad).status()).violations.size(), 3u);
}

TEST(Config, RefusesHeadsThatDoNotDivide) {
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "num_key_value_heads", 3));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "num_attention_heads", 6));
  EXPECT_REASON("CONFIG_INVALID", StatusWith(Small(), "head_dim", 15));
  Json wide = Small();
  wide["head_dim"] = 32;
  EXPECT_EQ(Parse(wide)->head_dim, 32);
}

TEST(Config, CompilesAttnEveryIntoAList) {
  EXPECT_EQ(AttentionEvery(5, 2), (std::vector<bool>{false, true, false, true, false}));
  EXPECT_EQ(AttentionEvery(2, 0), (std::vector<bool>{false, false}));
  EXPECT_EQ(Parse(Hybrid())->attention_layers, AttentionEvery(4, 2));
  EXPECT_REASON("CONFIG_INVALID",
                StatusWith(Hybrid(), "layer_types", {"ssm", "ssm", "ssm", "attention_ssm"}));
  Json neither = Hybrid();
  neither.erase("attn_every");
  EXPECT_REASON("CONFIG_INVALID", Parse(neither).status());
}

TEST(Config, ListsTheStagesOfEachArchitecture) {
  const ModelConfig lfm2 = *Parse(Small());
  ASSERT_EQ(lfm2.Layers().size(), 3u);
  EXPECT_EQ(lfm2.Layers()[0][0].branches[0].prefix, "conv");
  EXPECT_EQ(lfm2.Layers()[1][0].branches[0].prefix, "self_attn");
  Json parallel = Hybrid();
  parallel["parallel_residual"] = true;
  const Layer layer = Parse(parallel)->Layers()[1];
  ASSERT_EQ(layer.size(), 2u);
  EXPECT_EQ(Parse(parallel)->Module(layer[0].norm, 1), "model.layers.1.attention_norm");
  ASSERT_EQ(layer[1].branches.size(), 2u);
  EXPECT_EQ(Parse(Hybrid())->Layers()[1].size(), 3u);
}

TEST(Config, ConvBiasAddsThreeTensorsALayer) {
  Json biased = Small();
  biased["conv_bias"] = true;
  std::set<std::string> names;
  for (const TensorSpec& spec : Parse(biased)->TensorSpecs()) names.insert(spec.name);
  EXPECT_TRUE(names.count("model.layers.0.conv.conv.bias"));
  EXPECT_TRUE(names.count("model.layers.0.conv.in_proj.bias"));
  EXPECT_TRUE(names.count("model.layers.0.conv.out_proj.bias"));
  EXPECT_EQ(names.size(), Parse(Small())->TensorSpecs().size() + 6);
}

TEST(Config, WritesWhatItReads) {
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-sequential", "hybrid-parallel",
                           "hybrid-no-attention", "llama-tiny"}) {
    ModelConfig config = *ParseModelConfig(Slurp(Golden(std::string(name) + "/config.json")));
    const auto back = ParseModelConfig(ModelConfigToJson(config));
    ASSERT_TRUE(back.ok()) << back.status();
    config.formula_intermediate_size.reset();
    config.configured_intermediate_size.reset();
    EXPECT_EQ(*back, config) << name;
  }
  Json odd = Hybrid();
  odd.erase("attn_every");
  odd["layer_types"] = {"attention_ssm", "ssm", "ssm", "attention_ssm"};
  odd["eos_token_id"] = {3, 4};
  odd["head_dim"] = 32;
  EXPECT_EQ(*ParseModelConfig(ModelConfigToJson(*Parse(odd))), *Parse(odd));
}

TEST(Config, RefusesTextThatIsNoObject) {
  for (const char* text : {"", "[]", "null", "{", "{\"model_type\": 3}", "{\"a\":1,\"a\":2}"}) {
    EXPECT_REASON("CONFIG_INVALID", ParseModelConfig(text).status());
  }
}

}  // namespace
}  // namespace lfm2
