#include "model/torch/layers/gated_mlp.h"

namespace lfm2 {

at::Tensor GatedMlp(const Scope& scope, const at::Tensor& x) {
  const at::Tensor gate = at::silu(scope.Linear(Role::kGate, x));
  return scope.Linear(Role::kDown, gate * scope.Linear(Role::kUp, x));
}

}  // namespace lfm2
