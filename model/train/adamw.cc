#include "model/train/adamw.h"

#include <ATen/core/grad_mode.h>

#include <cmath>

#include "model/torch/weights.h"

namespace lfm2 {

bool TakesWeightDecay(const std::string& name, const at::Tensor& tensor) {
  return tensor.dim() >= 2 && !IsSsmParameter(name);
}

AdamW::AdamW(const NamedTensors& parameters, const TrainSpec& spec)
    : beta1_(spec.beta1), beta2_(spec.beta2), epsilon_(spec.epsilon) {
  groups_[0].weight_decay = spec.weight_decay;
  for (const auto& [name, parameter] : parameters) {
    Group& group = groups_[TakesWeightDecay(name, parameter) ? 0 : 1];
    at::Tensor exp_avg = at::zeros(parameter.sizes(), parameter.options().requires_grad(false));
    at::Tensor exp_avg_sq = at::zeros_like(exp_avg);
    moments_["exp_avg." + name] = exp_avg;
    moments_["exp_avg_sq." + name] = exp_avg_sq;
    group.parameters.push_back(parameter);
    group.exp_avgs.push_back(exp_avg);
    group.exp_avg_sqs.push_back(exp_avg_sq);
    group.steps.push_back(at::zeros({}, exp_avg.options().dtype(at::kFloat)));
  }
}

void AdamW::Step(int64_t step, double lr) {
  const at::NoGradGuard no_grad;
  for (Group& group : groups_) {
    if (group.parameters.empty()) continue;
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : group.parameters) gradients.push_back(parameter.grad());
    const at::Device device = group.parameters.front().device();
    if (!device.is_cpu() && !device.is_cuda()) {
      PlainStep(group, gradients, step, lr);
      continue;
    }
    // 1-based, because the kernel uses this count directly for the bias correction.
    for (at::Tensor& count : group.steps) count.fill_(static_cast<double>(step + 1));
    at::_fused_adamw_(group.parameters, gradients, group.exp_avgs, group.exp_avg_sqs, {},
                      group.steps, lr, beta1_, beta2_, group.weight_decay, epsilon_,
                      /*amsgrad=*/false, /*maximize=*/false);
  }
}

void AdamW::PlainStep(Group& group, const std::vector<at::Tensor>& gradients, int64_t step,
                      double lr) const {
  const double count = static_cast<double>(step + 1);
  const double correction1 = 1 - std::pow(beta1_, count);
  const double correction2 = std::sqrt(1 - std::pow(beta2_, count));
  for (size_t i = 0; i < gradients.size(); ++i) {
    group.parameters[i].mul_(1 - lr * group.weight_decay);
    group.exp_avgs[i].lerp_(gradients[i], 1 - beta1_);
    group.exp_avg_sqs[i].mul_(beta2_).addcmul_(gradients[i], gradients[i], 1 - beta2_);
    const at::Tensor denominator = group.exp_avg_sqs[i].sqrt().div_(correction2).add_(epsilon_);
    group.parameters[i].addcdiv_(group.exp_avgs[i], denominator, -lr / correction1);
  }
}

}  // namespace lfm2
