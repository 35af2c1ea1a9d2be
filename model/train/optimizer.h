// AdamW (Loshchilov and Hutter, 2019) with float32 master weights and moments, through
// at::_fused_adamw_.
//
// Weight decay is decoupled and touches matrices only: not norms and other 1-D tensors, not the
// SSM's parameters (A_log, B, C, D, log_dt). Thread rule: one thread. Throws c10::Error.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/train/spec/train_spec.h"

namespace lfm2 {

using NamedTensors = std::map<std::string, at::Tensor>;

// Whether a tensor of the state dict decays.
bool TakesWeightDecay(const std::string& name, const at::Tensor& tensor);

// Global L2 norm of the gradients, a float32 scalar on their device.
at::Tensor GradientNorm(const std::vector<at::Tensor>& gradients);
// Scales the gradients in place to a global norm of at most max_norm; no value leaves the device.
void ClipGradients(std::vector<at::Tensor>& gradients, const at::Tensor& norm, double max_norm);

class AdamW {
 public:
  // `parameters`: float32 leaves; shares their storage.
  AdamW(const NamedTensors& parameters, const TrainSpec& spec);

  // One update from the parameters' .grad; `step` is 0-based, `lr` that step's.
  void Step(int64_t step, double lr);

  std::vector<at::Tensor> Gradients()
      const;  // in the order of the names; a parameter without one counts as zeros
  void ZeroGradients();

  // "exp_avg.<name>" and "exp_avg_sq.<name>": what a checkpoint holds, and what a resume fills in
  // place.
  const NamedTensors& moments() const { return moments_; }

 private:
  struct Group {
    double weight_decay = 0;
    std::vector<at::Tensor> parameters, exp_avgs, exp_avg_sqs, steps;
  };
  // For devices without the fused kernel.
  void PlainStep(Group& group, const std::vector<at::Tensor>& gradients, int64_t step,
                 double lr) const;

  double beta1_, beta2_, epsilon_;
  Group groups_[2];
  std::vector<at::Tensor> parameters_;
  NamedTensors moments_;
};

}  // namespace lfm2
