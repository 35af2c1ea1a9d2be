#include "model/train/gradients.h"

namespace lfm2 {

std::vector<at::Tensor> GradientsOf(const NamedTensors& parameters) {
  std::vector<at::Tensor> gradients;
  for (const auto& [name, parameter] : parameters) {
    if (!parameter.grad().defined()) {
      parameter.mutable_grad() =
          at::zeros(parameter.sizes(), parameter.options().requires_grad(false));
    }
    gradients.push_back(parameter.grad());
  }
  return gradients;
}

void DropGradients(const NamedTensors& parameters) {
  for (const auto& [name, parameter] : parameters) parameter.mutable_grad().reset();
}

at::Tensor GradientNorm(const std::vector<at::Tensor>& gradients) {
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)));
}

void ClipGradients(std::vector<at::Tensor>& gradients, const at::Tensor& norm, double max_norm) {
  const at::Tensor scale = (max_norm / (norm + 1e-6)).clamp_max(1.0);
  at::_foreach_mul_(gradients, scale);
}

}  // namespace lfm2
