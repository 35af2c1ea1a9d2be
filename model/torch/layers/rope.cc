#include "model/torch/layers/rope.h"

#include <vector>

namespace lfm2 {

at::Tensor RopeFrequencies(int64_t head_dim, double theta, at::Device device) {
  const at::Tensor exponents =
      at::arange(0, head_dim, 2, at::TensorOptions().dtype(at::kLong)).to(at::kFloat) / head_dim;
  return at::pow(theta, exponents).reciprocal().to(device);
}

RopeTable MakeRopeTable(const at::Tensor& positions, const at::Tensor& frequencies,
                        at::ScalarType dtype) {
  const at::Tensor angles = positions.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return {angles.cos().to(dtype).unsqueeze(1), angles.sin().to(dtype).unsqueeze(1)};
}

at::Tensor ApplyRope(const at::Tensor& x, const RopeTable& table) {
  const std::vector<at::Tensor> halves = x.chunk(2, -1);
  const at::Tensor& a = halves[0];
  const at::Tensor& b = halves[1];
  return at::cat({a * table.cos - b * table.sin, b * table.cos + a * table.sin}, -1);
}

}  // namespace lfm2
