#include "model/cuda/driver.h"

#include <dlfcn.h>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/program_library.h"

namespace lfm2 {
namespace {

constexpr int kOldestCuda = 13'000;  // of deps/wheels-cuda.txt

}  // namespace

void* NvidiaDriver() {
  static void* const handle = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  return handle;
}

int NvidiaDriverCuda() {
  int (*get)(int*) = nullptr;
  int version = 0;
  if (NvidiaDriver() == nullptr || !FindFunction(NvidiaDriver(), "cuDriverGetVersion", get)) {
    return 0;
  }
  return get(&version) == 0 ? version : 0;
}

absl::Status CheckNvidiaDriver(int cuda) {
  if (cuda >= kOldestCuda) return absl::OkStatus();
  return Error(Reason::kDeviceUnavailable,
               absl::StrCat("the NVIDIA driver runs CUDA ", cuda / 1000, ".", cuda % 1000 / 10,
                            " at most, but the CUDA libraries need CUDA 13: install driver 580 "
                            "or a later one"));
}

}  // namespace lfm2
