#include "model/torch/weights.h"

#include <gmock/gmock.h>

#include <cmath>
#include <cstring>

#include "base/errors.h"
#include "model/arch/registry.h"
#include "tests/parity/golden_model.h"

namespace lfm2 {
namespace {

TensorSpec Named(const std::string& name, std::vector<int64_t> shape) {
  return {name, std::move(shape), IdOfAny(name).value()};
}

using testing::HasSubstr;

ModelConfig Config(const std::string& name) { return *ReadModelConfig(GoldenPath(name)); }

// An archive over tensors that the test holds.
TensorArchive ArchiveOf(const std::map<std::string, at::Tensor>& tensors) {
  TensorArchive archive;
  for (const auto& [name, tensor] : tensors) archive.tensors.push_back(*AsView(name, tensor));
  return archive;
}

TEST(Weights, MapsTensorsOfTheRightTypeWithoutACopy) {
  const auto folder = OpenModelFolder(GoldenPath("lfm2-tiny"));
  ASSERT_TRUE(folder.ok()) << folder.status();
  const auto weights = Weights::FromArchive(*folder->config, folder->weights, at::kCPU, at::kFloat);
  ASSERT_TRUE(weights.ok()) << weights.status();
  size_t aligned = 0;
  for (const TensorView& view : folder->weights.tensors) {
    if (reinterpret_cast<uintptr_t>(view.data) % 4 != 0) continue;
    ++aligned;
    EXPECT_EQ((**weights)[view.name].const_data_ptr(), static_cast<const void*>(view.data))
        << view.name;
  }
  EXPECT_GT(aligned, 0u);
}

TEST(Weights, KeepTheMappedFileAlive) {
  std::shared_ptr<Weights> weights;
  {
    const auto folder = OpenModelFolder(GoldenPath("lfm2-tiny"));
    weights = *Weights::FromArchive(*folder->config, folder->weights, at::kCPU, at::kFloat);
  }
  const GoldenModel copied = LoadGolden("lfm2-tiny");
  for (const auto& [name, tensor] : weights->tensors()) {
    EXPECT_TRUE(at::equal(tensor, (*copied.weights)[name])) << name;
  }
}

TEST(Weights, KeepTheSsmInFloat32WhateverTheTypeIs) {
  const GoldenModel model = LoadGolden("hybrid-sequential", at::kBFloat16);
  for (const auto& [name, tensor] : model.weights->tensors()) {
    EXPECT_EQ(tensor.scalar_type(), IsSsmParameter(name) ? at::kFloat : at::kBFloat16) << name;
  }
  EXPECT_TRUE(IsSsmParameter("model.layers.0.ssm.log_dt"));
  EXPECT_FALSE(IsSsmParameter("model.layers.0.ssm.in_proj.weight"));
}

TEST(Weights, NameTheTensorThatIsMissingMisshapenOrUnexpected) {
  const ModelConfig config = Config("lfm2-tiny");
  const auto load = [&](const std::map<std::string, at::Tensor>& tensors) {
    return Weights::FromArchive(config, ArchiveOf(tensors), at::kCPU, at::kFloat).status();
  };
  const auto complete = (*Weights::Random(config, 0, at::kCPU, at::kFloat))->tensors();
  EXPECT_TRUE(load(complete).ok());
  auto tensors = complete;
  tensors.erase("model.embedding_norm.weight");
  EXPECT_THAT(std::string(load(tensors).message()), HasSubstr("model.embedding_norm.weight"));
  EXPECT_EQ(DetailsOf(load(tensors)).reason, Reason::kWeightsMismatch);
  tensors = complete;
  tensors["model.embedding_norm.weight"] = at::ones({65});
  EXPECT_THAT(std::string(load(tensors).message()), HasSubstr("65"));
  tensors = complete;
  tensors["model.extra.weight"] = at::ones({1});
  EXPECT_THAT(std::string(load(tensors).message()), HasSubstr("model.extra.weight"));
  tensors = complete;
  tensors["model.embedding_norm.weight"] = at::ones({64}, at::kLong);
  EXPECT_THAT(std::string(load(tensors).message()), HasSubstr("I64"));
}

TEST(Weights, RandomDependsOnSeedAndNameAlone) {
  const ModelConfig lfm2 = Config("lfm2-tiny");
  const auto a = *Weights::Random(lfm2, 3, at::kCPU, at::kFloat);
  const auto b = *Weights::Random(lfm2, 3, at::kCPU, at::kFloat);
  const auto c = *Weights::Random(lfm2, 4, at::kCPU, at::kFloat);
  const std::string name = "model.layers.0.conv.in_proj.weight";
  EXPECT_TRUE(at::equal((*a)[name], (*b)[name]));
  EXPECT_FALSE(at::equal((*a)[name], (*c)[name]));
  EXPECT_FALSE(at::equal((*a)[name], (*a)["model.layers.1.conv.in_proj.weight"]));
  EXPECT_TRUE(at::equal((*a)[name], FreshTensor(Named(name, {192, 64}), 3)));
}

TEST(Weights, FreshTensorsHaveTheirInitialDistribution) {
  const at::Tensor matrix = FreshTensor(Named("model.embed_tokens.weight", {512, 64}), 1);
  EXPECT_NEAR(matrix.std().item<double>(), 0.02, 1e-3);
  EXPECT_NEAR(matrix.mean().item<double>(), 0, 1e-3);
  EXPECT_TRUE(at::equal(FreshTensor(Named("model.norm.weight", {4}), 1), at::ones({4})));
  EXPECT_TRUE(at::equal(FreshTensor(Named("model.layers.0.self_attn.q_layernorm.weight", {4}), 1),
                        at::ones({4})));
  EXPECT_TRUE(
      at::equal(FreshTensor(Named("model.layers.0.conv.in_proj.bias", {4}), 1), at::zeros({4})));
  const at::Tensor decay = FreshTensor(Named("model.layers.0.ssm.A_log", {3, 5}), 1);
  EXPECT_NEAR(decay[2][4].item<double>(), std::log(5.0), 1e-6);
  const at::Tensor log_dt = FreshTensor(Named("model.layers.0.ssm.log_dt", {1000}), 1);
  EXPECT_GE(log_dt.min().item<double>(), std::log(1e-3));
  EXPECT_LE(log_dt.max().item<double>(), std::log(1e-1));
  EXPECT_NEAR(FreshTensor(Named("model.layers.0.ssm.C", {100, 100}), 1).std().item<double>(), 1,
              0.05);
}

TEST(Weights, CopyUnalignedData) {
  std::vector<std::byte> bytes(13);
  const float values[] = {1, 2, 3};
  std::memcpy(bytes.data() + 1, values, sizeof(values));
  const TensorView view{"x", DType::kF32, {3}, bytes.data() + 1, 12};
  const at::Tensor tensor = AsTensor(view);
  EXPECT_TRUE(at::equal(tensor, at::tensor({1.0f, 2.0f, 3.0f})));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % 4, 0u);
}

TEST(Weights, ViewsRoundTripAndRefuseWhatTheyCannotShow) {
  const at::Tensor tensor = at::randn({3, 4}).to(at::kBFloat16);
  EXPECT_TRUE(at::equal(AsTensor(*AsView("x", tensor)), tensor));
  EXPECT_FALSE(AsView("x", tensor.t()).ok());
  EXPECT_FALSE(AsView("x", at::empty({2}, at::kMeta)).ok());
  EXPECT_FALSE(AsView("x", at::zeros({2}, at::kComplexFloat)).ok());
}

TEST(Weights, UnknownNameThrowsWithItsName) {
  const GoldenModel model = LoadGolden("lfm2-tiny");
  try {
    (*model.weights)["model.nothing"];
    FAIL();
  } catch (const c10::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.nothing"));
  }
}

struct Released {
  const char* name;
  int64_t hidden, intermediate, heads, parameters;
};

TEST(Weights, OfTheReleasedModelsHaveTheirPublishedCountsOnMeta) {
  for (const Released& model : {Released{"350M", 1024, 6656, 16, 354'483'968},
                                Released{"700M", 1536, 10240, 24, 742'489'344},
                                Released{"1.2B", 2048, 12288, 32, 1'170'340'608}}) {
    const std::string text =
        R"({"model_type": "lfm2", "vocab_size": 65536, "num_hidden_layers": 16, "num_key_value_heads": 8,
            "conv_L_cache": 3, "norm_eps": 1e-5, "rope_theta": 1000000.0, "tie_word_embeddings": true,
            "block_auto_adjust_ff_dim": true, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0,
            "max_position_embeddings": 128000, "full_attn_idxs": [2, 5, 8, 10, 12, 14],
            "hidden_size": )" +
        std::to_string(model.hidden) + R"(, "intermediate_size": )" +
        std::to_string(model.intermediate) + R"(, "num_attention_heads": )" +
        std::to_string(model.heads) + "}";
    const auto config = ParseModelConfig(text);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto weights = *Weights::Random(*config, 0, at::kMeta, at::kBFloat16);
    int64_t count = 0;
    for (const auto& [name, tensor] : weights->tensors()) count += tensor.numel();
    EXPECT_EQ(count, model.parameters) << model.name;
    EXPECT_EQ(weights->bytes(), 2 * model.parameters);
    const Decoder decoder(*config, weights);
    const auto state = decoder.NewState();
    const at::Tensor tokens =
        at::empty({9}, at::TensorOptions().dtype(at::kLong).device(at::kMeta));
    const at::Tensor logits = decoder.Logits(decoder.Hidden({tokens, {{0, 9, state.get()}}}));
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({9, 65536}));
  }
}

}  // namespace
}  // namespace lfm2
