// A scope in which tensors are plain: those born under InferenceMode could not be written outside
// of it later.
#pragma once

#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

namespace lfm2 {

struct PlainTensors {
  c10::InferenceMode mode{false};
  at::NoGradGuard no_grad;
};

}  // namespace lfm2
