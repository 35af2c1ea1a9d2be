#include "model/torch/layers/rms_norm.h"

namespace lfm2 {

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor x32 = x.to(at::kFloat);
  const at::Tensor mean_square = (x32 * x32).mean(-1, /*keepdim=*/true);
  return (x32 * at::rsqrt(mean_square + eps)).to(x.scalar_type()) * weight;
}

}  // namespace lfm2
