// AdamW (Loshchilov and Hutter, 2019) with float32 moments, through at::_fused_adamw_.
//
// Weight decay is decoupled and applies only to matrices: not to norms and other 1-D tensors, and
// not to the SSM's parameters (A_log, B, C, D, log_dt). Thread rule: one thread. Throws c10::Error.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/train/optimizer.h"

namespace lfm2 {

// Whether weight decay applies to a tensor of the state dict.
bool TakesWeightDecay(const std::string& name, const at::Tensor& tensor);

class AdamW final : public Optimizer {
 public:
  // `parameters`: float32 leaves; shares their storage.
  AdamW(const NamedTensors& parameters, const TrainSpec& spec);

  void Step(int64_t step, double lr) override;
  // The moments, "exp_avg.<name>" and "exp_avg_sq.<name>".
  const NamedTensors& state() const override { return moments_; }
  int64_t state_bytes_per_parameter() const override { return 2 * sizeof(float); }

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
  NamedTensors moments_;
};

}  // namespace lfm2
