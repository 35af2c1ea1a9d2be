// Packing for AVX-512.
#include "model/kernels/matmul/pack_loop.h"

namespace lfm2 {
namespace {

struct Own;

constexpr PackKernel kKernel = PackLoop<Own>::Kernel();

}  // namespace

const PackKernel& Avx512PackKernel() { return kKernel; }

}  // namespace lfm2
