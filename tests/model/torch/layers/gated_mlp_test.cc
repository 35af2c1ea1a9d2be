#include "model/torch/layers/gated_mlp.h"

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

constexpr TensorName kNames[] = {
    {Role::kGate, "ff.w1", "gate"}, {Role::kUp, "ff.w3", "up"}, {Role::kDown, "ff.w2", "down"}};

TEST(GatedMlp, GatesWithTheFirstAndProjectsWithTheLast) {
  at::manual_seed(7);
  Weights weights;
  auto& tensors = weights.mutable_tensors();
  tensors["model.layers.0.ff.w1.weight"] = at::randn({6, 4});
  tensors["model.layers.0.ff.w3.weight"] = at::randn({6, 4});
  tensors["model.layers.0.ff.w2.weight"] = at::randn({4, 6});
  const at::Tensor x = at::randn({3, 4});
  std::vector<std::string> probed;
  const ProbeSink sink = [&](const std::string& name, const at::Tensor&) {
    probed.push_back(name);
  };
  const at::Tensor y = GatedMlp(Scope(weights, &sink, kNames, 0), x);
  const at::Tensor gate = x.matmul(tensors["model.layers.0.ff.w1.weight"].t()),
                   up = x.matmul(tensors["model.layers.0.ff.w3.weight"].t());
  const at::Tensor expected =
      (gate / (1 + (-gate).exp()) * up).matmul(tensors["model.layers.0.ff.w2.weight"].t());
  EXPECT_LT(Difference(y, expected), 1e-5);
  EXPECT_EQ(probed, (std::vector<std::string>{"model.layers.0.ff.w1", "model.layers.0.ff.w3",
                                              "model.layers.0.ff.w2"}));
}

}  // namespace
}  // namespace lfm2
