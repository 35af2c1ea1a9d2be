#include "model/torch/torch_failure.h"

#include <algorithm>
#include <initializer_list>

namespace lfm2 {
namespace {

bool HasOneOf(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
    return text.find(word) != std::string_view::npos;
  });
}

}  // namespace

Reason ReasonOfTorchFailure(std::string_view message, bool on_gpu) {
  if (HasOneOf(message, {"not enough memory", "can't allocate memory"}) ||
      (on_gpu && HasOneOf(message, {"out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED"}))) {
    return on_gpu ? Reason::kGpuOutOfMemory : Reason::kOutOfMemory;
  }
  if (on_gpu && HasOneOf(message, {"CUDA error", "CUDA driver error", "cuDNN error",
                                   "CUBLAS_STATUS_", "CUDNN_STATUS_"})) {
    return Reason::kGpuFault;
  }
  return Reason::kInternal;
}

}  // namespace lfm2
