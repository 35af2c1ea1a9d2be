#include "model/train/gradients.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

namespace lfm2 {
namespace {

TEST(Gradients, OfAParameterWithoutOneAreZeros) {
  NamedTensors parameters = {{"b", at::ones({2}).requires_grad_(true)},
                             {"a", at::ones({3}).requires_grad_(true)}};
  parameters["b"].mutable_grad() = at::full({2}, 5.0);
  const std::vector<at::Tensor> gradients = GradientsOf(parameters);
  ASSERT_EQ(gradients.size(), 2u);
  EXPECT_TRUE(at::equal(gradients[0], at::zeros({3})));
  EXPECT_TRUE(at::equal(gradients[1], at::full({2}, 5.0)));
  DropGradients(parameters);
  for (const auto& [name, tensor] : parameters) EXPECT_FALSE(tensor.grad().defined()) << name;
}

TEST(GradientClip, ScalesToTheLimitAndLeavesSmallGradientsAlone) {
  std::vector<at::Tensor> gradients = {at::full({4}, 3.0), at::full({3, 3}, -4.0)};
  const at::Tensor norm = GradientNorm(gradients);
  EXPECT_NEAR(norm.item<float>(), std::sqrt(4 * 9.0 + 9 * 16.0), 1e-5);
  ClipGradients(gradients, norm, 1.0);
  EXPECT_NEAR(GradientNorm(gradients).item<float>(), 1.0, 1e-5);
  std::vector<at::Tensor> small = {at::full({4}, 0.1)};
  ClipGradients(small, GradientNorm(small), 1.0);
  EXPECT_TRUE(at::equal(small[0], at::full({4}, 0.1)));
}

}  // namespace
}  // namespace lfm2
