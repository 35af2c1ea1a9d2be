// The NVIDIA driver's library, libcuda.so.1, which comes with the driver and never with this
// program.
//
// Thread rule: any thread.
#pragma once

#include "absl/status/status.h"

namespace lfm2 {

// As dlopen gives it, open for the life of the process; null where there is no NVIDIA driver.
void* NvidiaDriver();

// The latest CUDA that the driver runs: 1000 * major + 10 * minor; 0 where it does not say.
int NvidiaDriverCuda();

// kDeviceUnavailable when a driver of this CUDA version runs none of our libraries.
absl::Status CheckNvidiaDriver(int cuda);

}  // namespace lfm2
