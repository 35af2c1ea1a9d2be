// Against transformers (LFM2 and Llama, float32) and the numpy reference (hybrid, float64).
#include <cmath>
#include <vector>

#include "tests/parity/golden_model.h"

namespace lfm2 {
namespace {

constexpr double kTolerance = 1e-4;

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { model_ = LoadGolden(GetParam()); }
  void Report(const char* what, double value) {
    RecordProperty(what, std::to_string(value));
    std::printf("%s: %s %.3g\n", GetParam(), what, value);
  }
  GoldenModel model_;
};
class TransformersGolden : public Golden {};

// The golden residual stream after layer i; transformers lists the embeddings first and the final
// norm's output last.
std::map<std::string, at::Tensor> GoldenLayers(const GoldenModel& model) {
  std::map<std::string, at::Tensor> out;
  const int64_t layers = model.config.num_layers();
  for (int64_t i = 0; i < layers; ++i) {
    const std::string probe = "model.layers." + std::to_string(i);
    if (model.golden.count("layer." + std::to_string(i)) != 0) {
      out[probe] = model.golden.at("layer." + std::to_string(i));
    } else if (i + 1 < layers) {
      out[probe] = model.golden.at("hidden." + std::to_string(i + 1));
    }
  }
  if (model.golden.count("hidden.0") != 0) {
    out["model.embed_tokens"] = model.golden.at("hidden.0");
    out[model.config.Module(Role::kFinalNorm)] =
        model.golden.at("hidden." + std::to_string(layers));
  }
  return out;
}

TEST_P(Golden, EveryLayerAndTheLogitsAgree) {
  const Decoder decoder = model_.decoder();
  const std::map<std::string, at::Tensor> expected = GoldenLayers(model_);
  double worst = 0;
  size_t seen = 0;
  const ProbeSink sink = [&](const std::string& name, const at::Tensor& value) {
    const auto found = expected.find(name);
    if (found == expected.end()) return;
    ++seen;
    const double difference = MaxDifference(value, found->second);
    worst = std::max(worst, difference);
    EXPECT_LT(difference, kTolerance) << name;
  };
  const at::Tensor tokens = model_.tokens();
  const at::Tensor hidden = decoder.Hidden({tokens, {{0, tokens.size(0), nullptr}}}, &sink);
  EXPECT_EQ(seen, expected.size());
  const double logits = MaxDifference(decoder.Logits(hidden), model_.golden.at("logits"));
  EXPECT_LT(logits, kTolerance);
  Report("layers", worst);
  Report("logits", logits);
}

TEST_P(Golden, TokenByTokenDecodeGivesTheSameLogits) {
  const Decoder decoder = model_.decoder();
  const at::Tensor tokens = model_.tokens();
  const auto state = decoder.NewState();
  double worst = 0;
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    const at::Tensor hidden = decoder.Hidden({tokens.narrow(0, i, 1), {{0, 1, state.get()}}});
    worst =
        std::max(worst, MaxDifference(decoder.Logits(hidden)[0], model_.golden.at("logits")[i]));
  }
  EXPECT_EQ(state->position(), tokens.size(0));
  EXPECT_LT(worst, kTolerance);
  Report("decode", worst);
}

TEST_P(TransformersGolden, GreedyTokensAreEqual) {
  const Decoder decoder = model_.decoder();
  const at::Tensor greedy = model_.golden.at("greedy");
  const auto state = decoder.NewState();
  at::Tensor next = model_.tokens().narrow(0, 0, 4);
  for (int64_t i = 0; i < greedy.size(0); ++i) {
    const at::Tensor hidden = decoder.Hidden({next, {{0, next.size(0), state.get()}}});
    next = decoder.Logits(hidden.slice(0, -1)).argmax(-1);
    ASSERT_EQ(next.item<int64_t>(), greedy[i].item<int64_t>()) << "token " << i;
  }
}

TEST_P(TransformersGolden, LossAndEveryGradientNormAgree) {
  for (auto& [name, tensor] : model_.weights->mutable_tensors()) tensor.requires_grad_(true);
  const at::Tensor tokens = model_.tokens();
  const at::Tensor logits = AllLogits(model_.decoder(), tokens);
  const at::Tensor loss = at::cross_entropy_loss(logits.slice(0, 0, -1), tokens.slice(0, 1));
  const double loss_error = std::abs(loss.item<double>() - model_.golden.at("loss").item<double>());
  EXPECT_LT(loss_error, 1e-5);
  loss.backward();
  double worst = 0;
  for (const auto& [name, tensor] : model_.weights->tensors()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    const double expected = model_.golden.at("grad." + name).item<double>();
    const double error = std::abs(tensor.grad().norm().item<double>() / expected - 1);
    EXPECT_LT(error, 1e-3) << name;
    worst = std::max(worst, error);
  }
  Report("loss", loss_error);
  Report("gradient norm, relative", worst);
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(kGoldenNames));
INSTANTIATE_TEST_SUITE_P(Models, TransformersGolden, testing::ValuesIn(kTransformersGoldenNames));

}  // namespace
}  // namespace lfm2
