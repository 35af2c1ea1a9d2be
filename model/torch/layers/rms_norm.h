// Root-mean-square layer norm: statistics in float32, cast back to the input's type, then times
// weight. Zhang and Sennrich 2019, with the same order of casts as transformers' Lfm2RMSNorm. Pure
// function.
#pragma once

#include <ATen/ATen.h>

namespace lfm2 {

// x [.., d], weight [d]; normalises over d.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace lfm2
