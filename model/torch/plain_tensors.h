// A scope in which new tensors are normal tensors: a tensor created under InferenceMode cannot be
// written later outside of it.
#pragma once

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

namespace lfm2 {

struct PlainTensors {
  c10::InferenceMode mode{false};
  at::NoGradGuard no_grad;
};

}  // namespace lfm2
