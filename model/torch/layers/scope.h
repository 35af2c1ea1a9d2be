// A sub-block's view of the model: its own tensors, by role, and its own probes.
//
// Thread rule: const. Borrows the weights and the sink.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <string>

#include "model/arch/tensor_names.h"
#include "model/torch/weights.h"

namespace lfm2 {

// Called with each intermediate result and its name ("model.layers.0.conv.in_proj",
// "model.layers.0", …, "logits").
using ProbeSink = std::function<void(const std::string& name, const at::Tensor& value)>;

class Scope {
 public:
  // The scope of a layer, with the architecture's names; layer -1: tensors outside the layers.
  Scope(const Weights& weights, const ProbeSink* probes, TensorNames names, int64_t layer)
      : weights_(weights), probes_(probes), names_(names), layer_(layer) {}

  // The same scope for a block whose own probes (not those of its tensors) are named
  // "<layer>.<prefix>.<name>".
  Scope Inner(const std::string& prefix) const;

  const at::Tensor& operator[](Role role) const { return weights_[NameOf(names_, {role, layer_})]; }
  // Undefined if the model does not have it.
  at::Tensor Bias(Role role) const;

  // x [.., in] times the weight [out, in], plus the bias if there is one. Probed.
  at::Tensor Linear(Role role, const at::Tensor& x) const;
  // RMSNorm with the weight. Probed.
  at::Tensor Norm(Role role, const at::Tensor& x, double eps) const;

  // Reports a value under its tensor's module name, or under "<prefix>.<name>".
  void Probe(Role role, const at::Tensor& value) const {
    if (probes_ != nullptr) (*probes_)(StemOf(names_, role, layer_), value);
  }
  void Probe(const std::string& name, const at::Tensor& value) const {
    if (probes_ != nullptr) (*probes_)(prefix_ + "." + name, value);
  }

 private:
  const Weights& weights_;
  const ProbeSink* probes_;
  TensorNames names_;
  int64_t layer_;
  std::string prefix_;
};

}  // namespace lfm2
