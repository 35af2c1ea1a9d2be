#include "model/torch/layers/gated_mlp.h"

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

TEST(GatedMlp, GatesWithTheFirstAndProjectsWithTheLast) {
  at::manual_seed(7);
  Weights weights;
  auto& tensors = weights.mutable_tensors();
  tensors["ff.w1.weight"] = at::randn({6, 4});
  tensors["ff.w3.weight"] = at::randn({6, 4});
  tensors["ff.w2.weight"] = at::randn({4, 6});
  const at::Tensor x = at::randn({3, 4});
  std::vector<std::string> probed;
  const ProbeSink sink = [&](const std::string& name, const at::Tensor&) {
    probed.push_back(name);
  };
  const at::Tensor y = GatedMlp(Scope(weights, &sink, "ff"), kLfm2MlpNames, x);
  const at::Tensor gate = x.matmul(tensors["ff.w1.weight"].t()),
                   up = x.matmul(tensors["ff.w3.weight"].t());
  const at::Tensor expected = (gate / (1 + (-gate).exp()) * up).matmul(tensors["ff.w2.weight"].t());
  EXPECT_LT(Difference(y, expected), 1e-5);
  EXPECT_EQ(probed, (std::vector<std::string>{"ff.w1", "ff.w3", "ff.w2"}));
}

}  // namespace
}  // namespace lfm2
