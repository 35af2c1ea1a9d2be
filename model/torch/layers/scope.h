// What a sub-block sees of the model: its own tensors and its own probes, by names relative to its
// prefix.
//
// Thread rule: const. Borrows the weights and the sink.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <string>

#include "model/torch/weights.h"

namespace lfm2 {

// Sees intermediate results by name ("model.layers.0.conv.in_proj", "model.layers.0", …, "logits").
using ProbeSink = std::function<void(const std::string& name, const at::Tensor& value)>;

class Scope {
 public:
  Scope(const Weights& weights, const ProbeSink* probes, std::string prefix)
      : weights_(weights), probes_(probes), prefix_(std::move(prefix)) {}

  Scope Inner(const std::string& name) const { return {weights_, probes_, prefix_ + "." + name}; }

  // Tensor "<prefix>.<name>".
  const at::Tensor& operator[](const std::string& name) const {
    return weights_[prefix_ + "." + name];
  }
  // Tensor "<prefix>.<name>", undefined when the model has none: an optional bias.
  at::Tensor Optional(const std::string& name) const;

  // x [.., in] times "<name>.weight" [out, in], plus "<name>.bias" when there is one. Probed.
  at::Tensor Linear(const std::string& name, const at::Tensor& x) const;
  // RMSNorm with "<name>.weight". Probed.
  at::Tensor Norm(const std::string& name, const at::Tensor& x, double eps) const;

  void Probe(const std::string& name, const at::Tensor& value) const {
    if (probes_ != nullptr) (*probes_)(prefix_ + "." + name, value);
  }

 private:
  const Weights& weights_;
  const ProbeSink* probes_;
  std::string prefix_;
};

}  // namespace lfm2
