// What a message of LibTorch's exceptions says: most of them are of one type.
//
// Thread rule: a pure function.
#pragma once

#include <string_view>

#include "base/errors.h"

namespace lfm2 {

// kOutOfMemory or kGpuOutOfMemory, kGpuFault for what CUDA, cuBLAS and cuDNN report, else
// kInternal.
Reason ReasonOfTorchFailure(std::string_view message, bool on_gpu);

}  // namespace lfm2
