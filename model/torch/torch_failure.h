// Derives an error's reason from the message of a LibTorch exception, because most of these have
// the same type.
//
// Thread rule: a pure function.
#pragma once

#include <string_view>

#include "base/errors.h"

namespace lfm2 {

// kOutOfMemory or kGpuOutOfMemory; kGpuFault for errors of CUDA, cuBLAS and cuDNN; else kInternal.
Reason ReasonOfTorchFailure(std::string_view message, bool on_gpu);

}  // namespace lfm2
