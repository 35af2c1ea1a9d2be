// The NVIDIA driver's library, libcuda.so.1, which is part of the driver and not of this program.
//
// Thread rule: any thread.
#pragma once

#include "absl/status/status.h"

namespace lfm2 {

// The handle from dlopen, open for the life of the process; null without an NVIDIA driver.
void* NvidiaDriver();

// The latest CUDA version that the driver supports: 1000 * major + 10 * minor; 0 if unknown.
int NvidiaDriverCuda();

// kDeviceUnavailable when a driver with this CUDA version cannot run our libraries.
absl::Status CheckNvidiaDriver(int cuda);

}  // namespace lfm2
