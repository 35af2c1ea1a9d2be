#include "model/kernels/layers/attention_kernel.h"
#include "model/kernels/layers/layer_kernels.h"
#include "model/kernels/layers/rms_norm_kernel.h"
#include "model/kernels/layers/rope_kernel.h"
#include "model/kernels/layers/short_conv_kernel.h"
#include "model/kernels/layers/silu_mul_kernel.h"
#include "model/kernels/layers/ssm_scan_kernel.h"
#include "model/kernels/machine/vector.h"

#if defined(__x86_64__)
namespace lfm2 {

const LayerKernels& Avx512LayerKernels() {
  using V = Avx512Vector;
  static constexpr LayerKernels kKernels = {
      RmsNormKernel<V>,
      AddKernel<V>,
      RopeKernel<V>,
      SiluMulKernel<V>,
      ShortConvKernel<V>,
      SsmScanKernel<V>,
      StoreKvKernel<V, uint16_t>,
      StoreKvKernel<V, float>,
      AttendKernel<V, uint16_t>,
      AttendKernel<V, float>,
      JoinKernel<V>,
      ScaleKernel<V>,
  };
  return kKernels;
}

}  // namespace lfm2
#endif
