#include "model/train/adamw.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

namespace lfm2 {
namespace {

NamedTensors Parameters() {
  at::manual_seed(5);
  NamedTensors out;
  out["model.layers.0.mlp.up_proj.weight"] = at::randn({4, 3}).requires_grad_(true);
  out["model.layers.0.ssm.A_log"] = at::randn({4, 2}).requires_grad_(true);
  out["model.layers.0.ssm_norm.weight"] = at::randn({4}).requires_grad_(true);
  return out;
}

// AdamW as the paper writes it, element by element in double.
struct PlainAdamW {
  double beta1, beta2, epsilon, weight_decay;
  std::vector<double> parameter, m, v;

  void Step(const std::vector<double>& gradient, int64_t step, double lr) {
    for (size_t i = 0; i < parameter.size(); ++i) {
      m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
      v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i];
      const double m_hat = m[i] / (1 - std::pow(beta1, static_cast<double>(step)));
      const double v_hat = v[i] / (1 - std::pow(beta2, static_cast<double>(step)));
      parameter[i] -= lr * weight_decay * parameter[i];
      parameter[i] -= lr * m_hat / (std::sqrt(v_hat) + epsilon);
    }
  }
};

std::vector<double> ToVector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.detach().to(at::kDouble).contiguous().view(-1);
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

TEST(AdamW, EqualsThePlainOneForManySteps) {
  TrainSpec spec;
  spec.weight_decay = 0.1;
  NamedTensors parameters = Parameters();
  std::map<std::string, PlainAdamW> plain;
  for (const auto& [name, tensor] : parameters) {
    const auto n = static_cast<size_t>(tensor.numel());
    const double decay = name.ends_with("up_proj.weight") ? spec.weight_decay : 0.0;
    plain[name] = {spec.beta1,
                   spec.beta2,
                   spec.epsilon,
                   decay,
                   ToVector(tensor),
                   std::vector<double>(n),
                   std::vector<double>(n)};
  }
  AdamW optimizer(parameters, spec);
  for (int64_t step = 0; step < 20; ++step) {
    const double lr = 1e-2 / static_cast<double>(step + 1);
    for (auto& [name, tensor] : parameters) {
      tensor.mutable_grad() = at::randn(tensor.sizes());
      plain[name].Step(ToVector(tensor.grad()), step + 1, lr);
    }
    optimizer.Step(step, lr);
  }
  for (const auto& [name, tensor] : parameters) {
    const std::vector<double> ours = ToVector(tensor);
    for (size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], plain[name].parameter[i], 2e-6);
  }
}

TEST(AdamW, DecaysMatricesOnly) {
  const at::Tensor matrix = at::zeros({2, 2}), vector = at::zeros({2});
  EXPECT_TRUE(TakesWeightDecay("model.embed_tokens.weight", matrix));
  EXPECT_TRUE(TakesWeightDecay("model.layers.3.conv.conv.weight", at::zeros({2, 1, 3})));
  EXPECT_TRUE(TakesWeightDecay("model.layers.3.ssm.in_proj.weight", matrix));
  EXPECT_FALSE(TakesWeightDecay("model.norm.weight", vector));
  EXPECT_FALSE(TakesWeightDecay("model.layers.0.conv.in_proj.bias", vector));
  for (const char* leaf : {"A_log", "B", "C"}) {
    EXPECT_FALSE(TakesWeightDecay(std::string("model.layers.0.ssm.") + leaf, matrix)) << leaf;
  }
}

TEST(AdamW, GoesOnFromRestoredMomentsAsIfItHadNeverStopped) {
  const TrainSpec spec;
  NamedTensors straight = Parameters(), resumed = Parameters();
  AdamW one(straight, spec), two(resumed, spec);
  const auto give = [](NamedTensors& parameters, int64_t step) {
    for (auto& [name, tensor] : parameters) {
      tensor.mutable_grad() = at::full(tensor.sizes(), 0.1 * static_cast<double>(step + 1));
    }
  };
  for (int64_t step = 0; step < 3; ++step) {
    give(straight, step);
    one.Step(step, 1e-3);
  }
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : resumed) tensor.copy_(straight[name]);
  for (const auto& [name, moment] : two.state()) {
    at::Tensor target = moment;
    target.copy_(one.state().at(name));
  }
  give(straight, 3);
  give(resumed, 3);
  one.Step(3, 1e-3);
  two.Step(3, 1e-3);
  for (const auto& [name, tensor] : straight) EXPECT_TRUE(at::equal(tensor, resumed[name])) << name;
}

}  // namespace
}  // namespace lfm2
