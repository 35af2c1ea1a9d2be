// Packing for AVX2.
#include "model/kernels/matmul/pack_loop.h"

namespace lfm2 {
namespace {

struct Own;

constexpr PackKernel kKernel = PackLoop<Own>::Kernel();

}  // namespace

const PackKernel& Avx2PackKernel() { return kKernel; }

}  // namespace lfm2
