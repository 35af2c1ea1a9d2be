// The NVIDIA driver's library, libcuda.so.1, which comes with the driver and never with this
// program.
//
// Thread rule: any thread.
#pragma once

namespace lfm2 {

// As dlopen gives it, open for the life of the process; null where there is no NVIDIA driver.
void* NvidiaDriver();

}  // namespace lfm2
