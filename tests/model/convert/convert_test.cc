#include "model/convert/convert.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <fstream>

#include "base/errors.h"
#include "model/export/export.h"
#include "model/export/hf_folder.h"
#include "model/tokenizer/load_tokenizer.h"
#include "model/tokenizer/tokenizer.h"
#include "model/torch/decoder.h"
#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

using testing::TemporaryDirectory;

std::filesystem::path Golden(const char* name) {
  return std::filesystem::path(LFM2_GOLDENS_DIR) / name;
}

std::map<std::string, TensorReport> ByName(const ConversionReport& report) {
  std::map<std::string, TensorReport> out;
  for (const TensorReport& tensor : report.tensors) out[tensor.name] = tensor;
  return out;
}

std::vector<std::string> Fields(const absl::Status& status) {
  std::vector<std::string> names;
  for (const FieldViolation& violation : DetailsOf(status).violations) {
    names.push_back(violation.field);
  }
  return names;
}

bool SameBytes(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.bytes == b.bytes &&
         std::memcmp(a.data, b.data, static_cast<size_t>(a.bytes)) == 0;
}

class ConvertTest : public ::testing::Test {
 protected:
  struct Made {
    ConversionReport report;
    ModelFolder model;
  };

  Made Convert(const ModelFolder* source, const ConversionSpec& spec) {
    const auto config = PlanConfig(source, spec);
    EXPECT_TRUE(config.ok()) << config.status();
    const auto out = root_.path() / ("out" + std::to_string(count_++));
    int64_t last_done = 0, last_total = -1;
    const auto report = ConvertModel(source, *config, spec, out, [&](int64_t done, int64_t total) {
      EXPECT_EQ(done, last_done + 1);
      last_done = done;
      last_total = total;
    });
    EXPECT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(last_done, last_total);
    auto model = OpenModelFolder(out);
    EXPECT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE(CheckWeights(*model->config, model->weights).ok());
    return {*report, *model};
  }

  ModelFolder Open(const char* name) { return OpenModelFolder(Golden(name)).value(); }

  // The same model with its weights in another type.
  ModelFolder OpenAs(const char* name, at::ScalarType dtype) {
    const ModelFolder folder = Open(name);
    std::vector<at::Tensor> tensors;
    std::vector<TensorView> views;
    for (const TensorView& view : folder.weights.tensors) {
      tensors.push_back(AsTensor(view).to(dtype));
      views.push_back(AsView(view.name, tensors.back()).value());
    }
    const auto path = root_.path() / ("as" + std::to_string(count_++));
    std::filesystem::create_directories(path);
    EXPECT_TRUE(WriteHfFolder({*folder.config, views, folder.tokenizer_dir}, path).ok());
    return OpenModelFolder(path).value();
  }

  TemporaryDirectory root_;
  int count_ = 0;
};

TEST_F(ConvertTest, TheSameArchitectureIsCopiedByteForByte) {
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-parallel", "hybrid-sequential",
                           "hybrid-no-attention", "llama-tiny"}) {
    const ModelFolder source = Open(name);
    const Made made = Convert(&source, {});
    EXPECT_EQ(made.report.Count(TensorFate::kCopied),
              static_cast<int64_t>(source.config->TensorSpecs().size()));
    EXPECT_EQ(made.report.tensors.size(), source.config->TensorSpecs().size());
    for (const TensorSpec& spec : source.config->TensorSpecs()) {
      EXPECT_TRUE(SameBytes(*source.weights.Find(spec.name), *made.model.weights.Find(spec.name)))
          << name << " " << spec.name;
    }
    EXPECT_EQ(ModelConfigToJson(*made.model.config), ModelConfigToJson(*source.config));
  }
}

TEST_F(ConvertTest, Lfm2ToHybridCopiesAllThatBothHave) {
  const ModelFolder source = Open("lfm2-tiny");  // attention in layer 2 only
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  const Made made = Convert(&source, spec);
  const auto& from = source.weights;
  const auto& to = made.model.weights;
  const auto same = [&](const std::string& ours, const std::string& theirs) {
    EXPECT_TRUE(SameBytes(*to.Find(ours), *from.Find(theirs))) << ours;
    EXPECT_EQ(ByName(made.report).at(ours).fate, TensorFate::kCopied) << ours;
  };
  same("model.embed_tokens.weight", "model.embed_tokens.weight");
  same("model.norm.weight", "model.embedding_norm.weight");
  for (int64_t i = 0; i < 4; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    same(layer + "ssm_norm.weight", layer + "operator_norm.weight");
    same(layer + "ffn_norm.weight", layer + "ffn_norm.weight");
    same(layer + "mlp.gate_proj.weight", layer + "feed_forward.w1.weight");
    same(layer + "mlp.up_proj.weight", layer + "feed_forward.w3.weight");
    same(layer + "mlp.down_proj.weight", layer + "feed_forward.w2.weight");
    EXPECT_EQ(ByName(made.report).at(layer + "ssm.A_log").fate, TensorFate::kFresh);
  }
  same("model.layers.2.attention_norm.weight", "model.layers.2.operator_norm.weight");
  same("model.layers.2.self_attn.q_proj.weight", "model.layers.2.self_attn.q_proj.weight");
  same("model.layers.2.self_attn.o_proj.weight", "model.layers.2.self_attn.out_proj.weight");
  EXPECT_EQ(made.model.config->rope_theta, source.config->rope_theta);

  const auto report = ByName(made.report);
  const TensorReport& norm = report.at("model.layers.2.self_attn.q_layernorm.weight");
  EXPECT_EQ(norm.fate, TensorFate::kUnexpected);
  EXPECT_EQ(norm.note, "the hybrid's attention has no norm on q and k");
  EXPECT_EQ(report.at("model.layers.0.conv.conv.weight").fate, TensorFate::kUnexpected);
}

TEST_F(ConvertTest, AQuantisedGgufIsKeptWholeWithItsTokenizer) {
  const ModelFolder source = Open("formats/llama-tiny.gguf");
  const Made made = Convert(&source, {});
  EXPECT_EQ(made.model.format, "gguf");
  EXPECT_EQ(made.report.Count(TensorFate::kCopied),
            static_cast<int64_t>(source.config->TensorSpecs().size()));
  EXPECT_EQ(ByName(made.report).at("model.embed_tokens.weight").note, "kept as Q8_0");
  EXPECT_EQ(ModelConfigToJson(*made.model.config), ModelConfigToJson(*source.config));
  for (const TensorView& tensor : source.weights.tensors) {
    EXPECT_TRUE(SameBytes(tensor, *made.model.weights.Find(tensor.name))) << tensor.name;
  }
  const auto tokenizer = LoadTokenizer(made.model.tokenizer_dir);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->sha256(), (*LoadTokenizer(source.tokenizer_dir))->sha256());
  // And the next one out of that.
  EXPECT_EQ(Convert(&made.model, {}).model.format, "gguf");
}

TEST_F(ConvertTest, LlamaToHybridWidensBlockTypes) {
  const ModelFolder source = Open("formats/llama-tiny.gguf");
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  const Made made = Convert(&source, spec);
  EXPECT_EQ(made.model.format, "safetensors");
  const auto same = [&](const std::string& ours, const std::string& theirs) {
    EXPECT_TRUE(at::equal(AsTensor(*made.model.weights.Find(ours)).to(at::kFloat),
                          AsTensor(*source.weights.Find(theirs)).to(at::kFloat)))
        << ours;
  };
  same("model.embed_tokens.weight", "model.embed_tokens.weight");
  same("model.norm.weight", "model.norm.weight");
  same("lm_head.weight", "lm_head.weight");
  same("model.layers.1.ssm_norm.weight", "model.layers.1.input_layernorm.weight");
  same("model.layers.1.attention_norm.weight", "model.layers.1.input_layernorm.weight");
  same("model.layers.1.ffn_norm.weight", "model.layers.1.post_attention_layernorm.weight");
  same("model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.q_proj.weight");
  same("model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.down_proj.weight");
  const auto report = ByName(made.report);
  EXPECT_EQ(report.at("model.embed_tokens.weight").fate, TensorFate::kConverted);
  EXPECT_EQ(report.at("model.embed_tokens.weight").note, "Q8_0 to F32");
  EXPECT_EQ(report.at("model.layers.0.ssm.D").note, "llama has no such tensor");
}

TEST_F(ConvertTest, AFreshLlamaAttendsInEveryLayerAndHasNoFlagsOfOthers) {
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kLlama;
  const Made made = Convert(nullptr, spec);
  EXPECT_EQ(made.model.config->attention_layers, std::vector<bool>(4, true));
  EXPECT_EQ(made.model.config->rope_theta, 1e4);
  spec.shape.attn_every = 2;
  spec.shape.conv_kernel = 3;
  spec.shape.ssm_state_size = 4;
  EXPECT_EQ(Fields(PlanConfig(nullptr, spec).status()),
            (std::vector<std::string>{"conv_kernel", "ssm_state_size", "attn_every"}));
  const ModelFolder lfm2 = Open("lfm2-tiny");
  spec.shape = {};
  spec.shape.architecture = Architecture::kLlama;
  EXPECT_EQ(DetailsOf(PlanConfig(&lfm2, spec).status()).reason, Reason::kUnsupported);
}

TEST_F(ConvertTest, EveryTensorOfBothModelsIsInTheReport) {
  const ModelFolder source = Open("lfm2-tiny-untied");
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.attn_every = 1;
  spec.shape.parallel_residual = true;
  const Made made = Convert(&source, spec);
  const auto report = ByName(made.report);
  for (const TensorSpec& tensor : made.model.config->TensorSpecs()) {
    EXPECT_EQ(report.count(tensor.name), 1u) << tensor.name;
  }
  // A source tensor is somewhere: under its own name, or in the note of what it became.
  for (const TensorView& tensor : source.weights.tensors) {
    bool told = report.count(tensor.name) > 0;
    for (const auto& [name, entry] : report) told |= entry.note == "from " + tensor.name;
    EXPECT_TRUE(told) << tensor.name;
  }
  EXPECT_EQ(report.at("model.layers.0.ffn_norm.weight").note,
            "parallel_residual has no separate norm");
  EXPECT_EQ(report.at("model.layers.0.self_attn.q_proj.weight").note,
            "layer 0 of the source has a conv instead of attention");
  EXPECT_EQ(report.at("lm_head.weight").fate, TensorFate::kCopied);
}

TEST_F(ConvertTest, WhatIsLeftOverIsToldByItsRole) {
  const ModelFolder source = Open("llama-tiny");
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.parallel_residual = true;
  const auto report = ByName(Convert(&source, spec).report);
  EXPECT_EQ(report.at("model.layers.0.post_attention_layernorm.weight").note,
            "parallel_residual has no separate norm");
}

TEST_F(ConvertTest, TensorsWithoutAMarkNameTheMarks) {
  ModelFolder bare = Open("lfm2-tiny");
  bare.config.reset();
  std::erase_if(bare.weights.tensors,
                [](const TensorView& tensor) { return tensor.name != kEmbeddingWeight; });
  const std::string message(PlanConfig(&bare, {}).status().message());
  EXPECT_NE(message.find("none of ssm.A_log, operator_norm and input_layernorm in its layers"),
            std::string::npos)
      << message;
}

TEST_F(ConvertTest, FewerKvHeadsAreMeansOfTheirGroups) {
  const ModelFolder source = Open("lfm2-tiny");
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.num_kv_heads = 1;
  const Made made = Convert(&source, spec);
  const std::string name = "model.layers.2.self_attn.k_proj.weight";
  const at::Tensor before = AsTensor(*source.weights.Find(name));
  const at::Tensor after = AsTensor(*made.model.weights.Find(name));
  const int64_t head_dim = source.config->head_dim;
  const at::Tensor expected =
      (before.narrow(0, 0, head_dim) + before.narrow(0, head_dim, head_dim)) / 2;
  EXPECT_TRUE(at::allclose(after, expected, 1e-6, 1e-7));
  EXPECT_EQ(ByName(made.report).at(name).fate, TensorFate::kConverted);
  EXPECT_EQ(ByName(made.report).at(name).note, "kv heads 2 averaged to 1");
}

TEST_F(ConvertTest, AMeanOfEqualHeadsLeavesTheLogitsAsTheyWere) {
  // Two equal kv heads averaged to one are the same attention: checked through the forward pass.
  ConversionSpec fresh;
  fresh.shape.architecture = Architecture::kLfm2;
  fresh.shape.hidden_size = 32;
  fresh.shape.num_heads = 4;
  fresh.shape.num_kv_heads = 2;
  fresh.shape.vocab_size = 50;
  fresh.shape.intermediate_size = 64;
  Made lfm2 = Convert(nullptr, fresh);
  std::vector<at::Tensor> owners;
  for (TensorView& view : lfm2.model.weights.tensors) {
    if (view.name.find("k_proj") == std::string::npos &&
        view.name.find("v_proj") == std::string::npos) {
      continue;
    }
    const at::Tensor first = AsTensor(view).narrow(0, 0, view.shape[0] / 2);
    owners.push_back(at::cat({first, first}));
    view = AsView(view.name, owners.back()).value();
  }
  ConversionSpec two, one;
  two.shape.architecture = one.shape.architecture = Architecture::kHybrid;
  one.shape.num_kv_heads = 1;
  const at::Tensor tokens = at::arange(10, at::kLong);
  const auto logits = [&](const ModelFolder& model) {
    const auto weights =
        Weights::FromArchive(*model.config, model.weights, at::kCPU, at::kFloat).value();
    const Decoder decoder(*model.config, weights);
    return decoder.Logits(decoder.Hidden({tokens, {{0, 10, nullptr}}}));
  };
  const at::Tensor with_two = logits(Convert(&lfm2.model, two).model);
  const at::Tensor with_one = logits(Convert(&lfm2.model, one).model);
  EXPECT_TRUE(at::allclose(with_two, with_one, 1e-5, 1e-5));
}

TEST_F(ConvertTest, SixteenBitCopiesKeepTheirTypeAndWhatIsMadeIsFloat32) {
  const ModelFolder source = OpenAs("lfm2-tiny", at::kBFloat16);
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.num_kv_heads = 1;
  const Made made = Convert(&source, spec);
  EXPECT_EQ(made.model.weights.Find("model.embed_tokens.weight")->dtype, DType::kBF16);
  EXPECT_EQ(made.model.weights.Find("model.layers.2.self_attn.k_proj.weight")->dtype, DType::kF32);
  EXPECT_EQ(made.model.weights.Find("model.layers.0.ssm.A_log")->dtype, DType::kF32);
}

TEST_F(ConvertTest, AFlagThatRepeatsTheModelIsTakenAndOneThatContradictsIsRefusedWithBothValues) {
  const ModelFolder source = Open("hybrid-parallel");
  ConversionSpec same;
  same.shape.num_kv_heads = 1;
  same.shape.parallel_residual = true;
  same.shape.attn_every = 2;
  same.shape.rope_theta = 10000.0;
  EXPECT_TRUE(PlanConfig(&source, same).ok());
  ConversionSpec other = same;
  other.shape.num_kv_heads = 2;
  other.shape.vocab_size = 300;
  other.shape.attn_every = 3;
  const absl::Status status = PlanConfig(&source, other).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kFlagContradictsModel);
  EXPECT_EQ(Fields(status), (std::vector<std::string>{"vocab_size", "num_kv_heads", "attn_every"}));
  EXPECT_EQ(DetailsOf(status).violations[0].description, "is 300, but the source has 256");
  EXPECT_EQ(DetailsOf(status).violations[2].description,
            "is 3, but the source has attention in layers [1, 3]");
}

TEST_F(ConvertTest, RefusesOtherSizesBetweenArchitecturesAndKvHeadsThatDoNotDivide) {
  const ModelFolder source = Open("lfm2-tiny");
  ConversionSpec spec;
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.vocab_size = 100;
  spec.shape.num_kv_heads = 4;
  const absl::Status status = PlanConfig(&source, spec).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kFlagContradictsModel);
  EXPECT_EQ(Fields(status), (std::vector<std::string>{"vocab_size", "num_kv_heads"}));
  spec.shape = {};
  spec.shape.architecture = Architecture::kHybrid;
  spec.shape.conv_kernel = 3;
  EXPECT_EQ(Fields(PlanConfig(&source, spec).status()), (std::vector<std::string>{"conv_kernel"}));
  const ModelFolder hybrid = Open("hybrid-parallel");
  spec.shape = {};
  spec.shape.architecture = Architecture::kLfm2;
  EXPECT_EQ(DetailsOf(PlanConfig(&hybrid, spec).status()).reason, Reason::kUnsupported);
}

TEST_F(ConvertTest, APartialLoadCopiesWhatMatchesByNameAndShape) {
  const ModelFolder source = Open("lfm2-tiny");
  ConversionSpec spec;
  spec.partial = true;
  spec.shape.vocab_size = 600;
  const Made made = Convert(&source, spec);
  EXPECT_EQ(made.model.config->architecture, Architecture::kHybrid);
  EXPECT_EQ(made.model.config->hidden_size, 64);
  const auto report = ByName(made.report);
  EXPECT_EQ(report.at("model.embed_tokens.weight").fate, TensorFate::kWrongShape);
  EXPECT_EQ(report.at("model.embed_tokens.weight").note, "[512, 64] against [600, 64]; left fresh");
  EXPECT_EQ(report.at("model.layers.0.ffn_norm.weight").fate, TensorFate::kCopied);
  EXPECT_EQ(report.at("model.layers.2.self_attn.q_proj.weight").fate, TensorFate::kCopied);
  EXPECT_EQ(report.at("model.norm.weight").fate, TensorFate::kFresh);
  EXPECT_EQ(report.at("model.embedding_norm.weight").fate, TensorFate::kUnexpected);
  EXPECT_EQ(report.at("model.layers.0.mlp.up_proj.weight").fate, TensorFate::kFresh);
}

TEST_F(ConvertTest, ABareWeightsFileTellsItsConfigByItsTensors) {
  for (const char* name : {"lfm2-tiny", "lfm2-tiny-untied", "hybrid-parallel", "hybrid-sequential",
                           "hybrid-no-attention", "llama-tiny"}) {
    const ModelFolder whole = Open(name);
    const ModelFolder bare = OpenModelFolder(Golden(name) / "model.safetensors").value();
    ASSERT_FALSE(bare.config);
    ConversionSpec spec;
    spec.shape.num_heads = whole.config->num_attention_heads;
    spec.shape.num_kv_heads = whole.config->num_key_value_heads;
    // No tensor tells it, and this one's is not the default.
    if (std::string(name) == "llama-tiny") spec.shape.rope_theta = whole.config->rope_theta;
    const Made made = Convert(&bare, spec);
    const ModelConfig& config = *made.model.config;
    EXPECT_EQ(made.report.Count(TensorFate::kCopied),
              static_cast<int64_t>(whole.config->TensorSpecs().size()));
    EXPECT_EQ(config.architecture, whole.config->architecture) << name;
    EXPECT_EQ(config.attention_layers, whole.config->attention_layers) << name;
    EXPECT_EQ(config.head_dim, whole.config->head_dim) << name;
    EXPECT_EQ(config.rope_theta, whole.config->rope_theta) << name;
    EXPECT_EQ(config.tie_word_embeddings, whole.config->tie_word_embeddings) << name;
    EXPECT_EQ(config.parallel_residual, whole.config->parallel_residual) << name;
  }
}

TEST_F(ConvertTest, ABareFileWhoseHeadsCannotBeToldAsksForThem) {
  const ModelFolder bare = OpenModelFolder(Golden("hybrid-parallel") / "model.safetensors").value();
  const absl::Status status = PlanConfig(&bare, {}).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kConfigInvalid);
  EXPECT_NE(status.message().find("give n_heads"), std::string::npos) << status;
}

TEST_F(ConvertTest, AnExportedNpzComesBackThroughItsMetaFile) {
  const ModelFolder source = Open("hybrid-sequential");
  ExportRequest request;
  request.destination = root_.path() / "export";
  ASSERT_TRUE(ExportModel(source, request, nullptr).ok());
  const auto npz = OpenConversionSource(request.destination / "model.npz");
  ASSERT_TRUE(npz.ok()) << npz.status();
  ASSERT_TRUE(npz->config);
  const Made made = Convert(&*npz, {});
  for (const TensorSpec& spec : source.config->TensorSpecs()) {
    EXPECT_TRUE(SameBytes(*source.weights.Find(spec.name), *made.model.weights.Find(spec.name)));
  }
}

TEST_F(ConvertTest, AFreshModelIsTheSameForTheSameSeedOnly) {
  ConversionSpec spec;
  spec.shape.hidden_size = 64;
  spec.shape.num_layers = 2;
  spec.seed = 1;
  const Made one = Convert(nullptr, spec), two = Convert(nullptr, spec);
  spec.seed = 2;
  const Made three = Convert(nullptr, spec);
  const std::string name = "model.embed_tokens.weight";
  EXPECT_TRUE(SameBytes(*one.model.weights.Find(name), *two.model.weights.Find(name)));
  EXPECT_FALSE(SameBytes(*one.model.weights.Find(name), *three.model.weights.Find(name)));
  EXPECT_EQ(one.model.config->vocab_size, 259);
  EXPECT_EQ(one.report.Count(TensorFate::kFresh), static_cast<int64_t>(one.report.tensors.size()));
}

TEST_F(ConvertTest, RefusesFreshShapesThatNoModelHas) {
  ConversionSpec spec;
  spec.shape.num_heads = 3;
  EXPECT_EQ(DetailsOf(PlanConfig(nullptr, spec).status()).reason, Reason::kConfigInvalid);
  spec.shape = {};
  spec.shape.num_layers = 1 << 20;
  EXPECT_EQ(DetailsOf(PlanConfig(nullptr, spec).status()).reason, Reason::kConfigInvalid);
  spec.shape = {};
  spec.shape.num_heads = 0;
  EXPECT_EQ(DetailsOf(PlanConfig(nullptr, spec).status()).reason, Reason::kConfigInvalid);
  spec.shape = {};
  spec.shape.hidden_size = -64;
  EXPECT_EQ(DetailsOf(PlanConfig(nullptr, spec).status()).reason, Reason::kConfigInvalid);
}

TEST_F(ConvertTest, LeavesNothingBehindWhenTheDestinationIsThere) {
  const auto out = root_.path() / "there";
  std::filesystem::create_directories(out);
  const ModelConfig config = PlanConfig(nullptr, {}).value();
  const absl::Status status = ConvertModel(nullptr, config, {}, out, nullptr).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kModelExists);
  EXPECT_TRUE(std::filesystem::is_empty(out));
  EXPECT_FALSE(std::filesystem::exists(root_.path() / ".tmp-there"));
}

}  // namespace
}  // namespace lfm2
