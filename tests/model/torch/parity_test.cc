#include "model/torch/parity.h"

#include <gmock/gmock.h>

#include "base/errors.h"
#include "tests/parity/golden_model.h"

namespace lfm2 {
namespace {

using testing::Contains;

constexpr int32_t kTokens[] = {1, 2, 3, 40, 41, 42, 43};

ParityReport ReportOf(const GoldenModel& model, bool keep_values) {
  return *RunParity(model.decoder(), kTokens, keep_values);
}

std::vector<std::string> NamesOf(const ParityReport& report) {
  std::vector<std::string> names;
  for (const Probe& probe : report.probes) names.push_back(probe.name);
  return names;
}

TEST(RunParity, NamesTheProbesOfLfm2AsTransformersNamesItsModules) {
  const std::vector<std::string> names = NamesOf(ReportOf(LoadGolden("lfm2-tiny"), false));
  EXPECT_EQ(names.front(), "model.embed_tokens");
  EXPECT_EQ(names.back(), "logits");
  for (const char* name :
       {"model.layers.0.operator_norm", "model.layers.0.conv.in_proj", "model.layers.0.conv.conv",
        "model.layers.0.conv.out_proj", "model.layers.2.self_attn.q_proj",
        "model.layers.2.self_attn.k_proj", "model.layers.2.self_attn.v_proj",
        "model.layers.2.self_attn.q_layernorm", "model.layers.2.self_attn.k_layernorm",
        "model.layers.2.self_attn.out_proj", "model.layers.0.ffn_norm",
        "model.layers.0.feed_forward.w1", "model.layers.0.feed_forward.w3",
        "model.layers.0.feed_forward.w2", "model.layers.3", "model.embedding_norm"}) {
    EXPECT_THAT(names, Contains(std::string(name)));
  }
}

TEST(RunParity, NamesTheProbesOfTheHybridByItsStateDict) {
  const std::vector<std::string> names = NamesOf(ReportOf(LoadGolden("hybrid-sequential"), false));
  for (const char* name :
       {"model.layers.1.attention_norm", "model.layers.1.self_attn.o_proj",
        "model.layers.0.ssm_norm", "model.layers.0.ssm.in_proj", "model.layers.0.ssm.scan",
        "model.layers.0.ssm.out_proj", "model.layers.0.ffn_norm", "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj", "model.layers.3",
        "model.norm"}) {
    EXPECT_THAT(names, Contains(std::string(name)));
  }
}

TEST(RunParity, FiguresAreThoseOfTheValues) {
  for (const Probe& probe : ReportOf(LoadGolden("lfm2-tiny"), true).probes) {
    if (probe.name == "logits") continue;
    double sum = 0, magnitude = 0, max = 0, square = 0;
    for (const float value : probe.values) {
      sum += value;
      magnitude += std::abs(value);
      max = std::max(max, std::abs(double{value}));
      square += double{value} * value;
    }
    const auto count = static_cast<double>(probe.values.size());
    EXPECT_NEAR(probe.sum, sum, 1e-9 * count) << probe.name;
    EXPECT_NEAR(probe.abs_mean, magnitude / count, 1e-9) << probe.name;
    EXPECT_EQ(probe.max, max) << probe.name;
    EXPECT_NEAR(probe.norm, std::sqrt(square), 1e-9 * count) << probe.name;
  }
}

TEST(RunParity, AgreesWithItselfAndCountsEveryLogit) {
  const GoldenModel model = LoadGolden("hybrid-parallel");
  const ParityReport report = ReportOf(model, false);
  EXPECT_EQ(report.logits_shape, (std::vector<int64_t>{7, 256}));
  EXPECT_EQ(report.logits.size(), 7u * 256);
  EXPECT_FALSE(CompareReports(report, ReportOf(model, false), 1e-6).first_difference.has_value());
}

// A changed weight is found at the module that it belongs to, by values and by figures alone.
TEST(RunParity, FirstDifferenceIsTheModuleWhoseWeightChanged) {
  const std::pair<const char*, const char*> cases[] = {
      {"lfm2-tiny", "model.layers.1.conv.conv"},
      {"lfm2-tiny", "model.layers.2.self_attn.k_layernorm"},
      {"lfm2-tiny", "model.layers.2.feed_forward.w3"},
      {"lfm2-tiny", "model.layers.2.self_attn.out_proj"},
      {"lfm2-tiny", "model.embedding_norm"},
      {"hybrid-sequential", "model.layers.1.self_attn.v_proj"},
      {"hybrid-sequential", "model.layers.2.mlp.down_proj"},
      {"hybrid-parallel", "model.layers.0.ssm.out_proj"},
  };
  for (const auto& [name, module] : cases) {
    const GoldenModel model = LoadGolden(name);
    const ParityReport before = ReportOf(model, true), before_figures = ReportOf(model, false);
    at::Tensor& weight = model.weights->mutable_tensors().at(std::string(module) + ".weight");
    weight = weight * 1.05;
    EXPECT_EQ(CompareReports(before, ReportOf(model, true), 1e-4).first_difference, module);
    EXPECT_EQ(CompareReports(before_figures, ReportOf(model, false), 1e-5).first_difference,
              module);
  }
  const GoldenModel model = LoadGolden("hybrid-parallel");
  const ParityReport before = ReportOf(model, true);
  model.weights->mutable_tensors().at("model.layers.1.ssm.log_dt").add_(0.1);
  EXPECT_EQ(CompareReports(before, ReportOf(model, true), 1e-4).first_difference,
            "model.layers.1.ssm.scan");
}

TEST(RunParity, OfA16BitModelIsStillAFloat32Pass) {
  const GoldenModel model = LoadGolden("lfm2-tiny", at::kBFloat16);
  const Decoder widened(model.config, model.weights->Cast(at::kFloat));
  const ParityReport expected = *RunParity(widened, kTokens, false);
  EXPECT_EQ(CompareReports(ReportOf(model, false), expected, 1e-6).max_logit_difference, 0);
}

TEST(RunParity, RefusesNoTokensAndTokensOutsideTheVocabulary) {
  const GoldenModel model = LoadGolden("lfm2-tiny");
  const int32_t outside[] = {1, 512};
  const int32_t negative[] = {-1};
  EXPECT_EQ(DetailsOf(RunParity(model.decoder(), {}, false).status()).reason, Reason::kPromptEmpty);
  EXPECT_EQ(DetailsOf(RunParity(model.decoder(), outside, false).status()).reason,
            Reason::kInvalidArgument);
  EXPECT_EQ(DetailsOf(RunParity(model.decoder(), negative, false).status()).reason,
            Reason::kInvalidArgument);
}

TEST(RunParity, TurnsWhatTheLibraryThrowsIntoAStatus) {
  const GoldenModel model = LoadGolden("lfm2-tiny");
  model.weights->mutable_tensors().erase("model.layers.0.ffn_norm.weight");
  const absl::Status status = RunParity(model.decoder(), kTokens, false).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kInternal);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("model.layers.0.ffn_norm.weight"));
}

}  // namespace
}  // namespace lfm2
