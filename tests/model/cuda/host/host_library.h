// liblfm2_cuda.so's table without a GPU: the same kernel bodies and launches, compiled for the host
// through the shim; plain memory; a recording keeps the calls and a replay makes them again with
// the same arguments, as a graph would. Counts what is alive, so that a test sees a leak.
#pragma once

#include <cstdint>

#include "model/cuda/lfm2_cuda.h"

namespace lfm2 {

const Lfm2CudaFunctions& HostCudaFunctions();

struct HostCuda {
  int64_t bytes = 0;                 // allocated now
  int64_t limit = int64_t{1} << 40;  // beyond it an allocation fails
  int64_t contexts = 0, graphs = 0;  // alive now
  int64_t replays = 0, waits = 0;
  int fail_gemm = 0;  // this code, from the next gemm on, while it is not 0
  int fail_open = 0;  // likewise, of open
};
HostCuda& HostCudaState();

}  // namespace lfm2
