#include "model/kernels/attention_kernel.h"
#include "model/kernels/layer_kernels.h"
#include "model/kernels/rms_norm_kernel.h"
#include "model/kernels/rope_kernel.h"
#include "model/kernels/short_conv_kernel.h"
#include "model/kernels/silu_mul_kernel.h"
#include "model/kernels/ssm_scan_kernel.h"
#include "model/kernels/vector.h"

#if defined(__x86_64__)
namespace lfm2 {

const LayerKernels& Avx2LayerKernels() {
  using V = Avx2Vector;
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
