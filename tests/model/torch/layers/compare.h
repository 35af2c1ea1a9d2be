// What the layer tests share: a named difference, random tensors, and the weights of one sub-block.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

namespace lfm2 {

inline double Difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.detach().to(at::kDouble) - b.detach().to(at::kDouble)).abs().max().item<double>();
}

// Largest difference over the larger of 1 and the largest magnitude.
inline double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return Difference(a, b) / std::max(1.0, b.detach().abs().max().item<double>());
}

}  // namespace lfm2
