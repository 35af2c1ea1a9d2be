// Chooses the runner that serves: our own kernels on the CPU, or LibTorch on CUDA.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

struct ModelLoaderOptions {
  std::string device = "auto";   // "cpu", "cuda", "cuda:N", "auto"
  std::string dtype = "auto";    // "float32", "bfloat16", "auto"
  std::string weights = "auto";  // "f32", "bf16", "int8", "int4", "auto": CPU; auto follows dtype
  int threads = 0;               // CPU threads; 0: one per core
  int64_t kv_bytes = 0;
  int64_t prefix_cache_bytes = 0;
};

// Opens the device at once, before any ATen call of the process. kDeviceUnavailable; kUnsupported
// for a device that needs LibTorch when liblfm2_torch.so cannot be opened; kConfigInvalid when
// dtype and weights contradict each other or the device does not support the weights.
absl::StatusOr<ModelLoader> MakeModelLoader(const ModelLoaderOptions& options);

}  // namespace lfm2
