#include "model/cuda/driver.h"

#include <dlfcn.h>

namespace lfm2 {

void* NvidiaDriver() {
  static void* const handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return handle;
}

}  // namespace lfm2
