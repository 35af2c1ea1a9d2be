// Packing for any machine.
#include "model/kernels/matmul/pack_loop.h"

namespace lfm2 {
namespace {

struct Own;

constexpr PackKernel kKernel = PackLoop<Own>::Kernel();

}  // namespace

const PackKernel& PortablePackKernel() { return kKernel; }

}  // namespace lfm2
