#include "model/torch/layers/scope.h"

#include "model/torch/layers/rms_norm.h"

namespace lfm2 {

Scope Scope::Inner(const std::string& prefix) const {
  Scope inner = *this;
  inner.prefix_ = LayerName(layer_) + "." + prefix;
  return inner;
}

at::Tensor Scope::Bias(Role role) const {
  const auto& tensors = weights_.tensors();
  const auto found = tensors.find(NameOf(names_, {role, layer_, /*bias=*/true}));
  return found == tensors.end() ? at::Tensor() : found->second;
}

at::Tensor Scope::Linear(Role role, const at::Tensor& x) const {
  at::Tensor y = at::linear(x, (*this)[role], Bias(role));
  Probe(role, y);
  return y;
}

at::Tensor Scope::Norm(Role role, const at::Tensor& x, double eps) const {
  at::Tensor y = RmsNorm(x, (*this)[role], eps);
  Probe(role, y);
  return y;
}

}  // namespace lfm2
