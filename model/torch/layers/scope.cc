#include "model/torch/layers/scope.h"

#include "model/torch/layers/rms_norm.h"

namespace lfm2 {

at::Tensor Scope::Optional(const std::string& name) const {
  const auto& tensors = weights_.tensors();
  const auto found = tensors.find(prefix_ + "." + name);
  return found == tensors.end() ? at::Tensor() : found->second;
}

at::Tensor Scope::Linear(const std::string& name, const at::Tensor& x) const {
  at::Tensor y = at::linear(x, (*this)[name + ".weight"], Optional(name + ".bias"));
  Probe(name, y);
  return y;
}

at::Tensor Scope::Norm(const std::string& name, const at::Tensor& x, double eps) const {
  at::Tensor y = RmsNorm(x, (*this)[name + ".weight"], eps);
  Probe(name, y);
  return y;
}

}  // namespace lfm2
