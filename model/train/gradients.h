// The gradients of a model's parameters, before an optimizer sees them. Thread rule: one thread.
// Throws c10::Error.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <vector>

namespace lfm2 {

using NamedTensors = std::map<std::string, at::Tensor>;

// In the order of the names; zeros for a parameter without a gradient.
std::vector<at::Tensor> GradientsOf(const NamedTensors& parameters);
void DropGradients(const NamedTensors& parameters);

// Global L2 norm of the gradients, a float32 scalar on their device.
at::Tensor GradientNorm(const std::vector<at::Tensor>& gradients);
// Scales the gradients in place to a global norm of at most max_norm, without copying a value to
// the host.
void ClipGradients(std::vector<at::Tensor>& gradients, const at::Tensor& norm, double max_norm);

}  // namespace lfm2
