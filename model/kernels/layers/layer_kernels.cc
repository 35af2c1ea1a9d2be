#include "model/kernels/layers/layer_kernels.h"

namespace lfm2 {

const LayerKernels& LayerKernelsFor(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::kAvx512) return Avx512LayerKernels();
  if (isa == Isa::kAvx2) return Avx2LayerKernels();
#else
  (void)isa;  // the others cannot run here
#endif
  return PortableLayerKernels();
}

}  // namespace lfm2
