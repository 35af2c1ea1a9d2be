#include "model/torch/layers/gated_mlp.h"

namespace lfm2 {

at::Tensor GatedMlp(const Scope& scope, const GatedMlpNames& names, const at::Tensor& x) {
  const at::Tensor gate = at::silu(scope.Linear(names.gate, x));
  return scope.Linear(names.down, gate * scope.Linear(names.up, x));
}

}  // namespace lfm2
