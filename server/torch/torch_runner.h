// The LibTorch form of ModelRunner, and the loader that makes it. Turns c10::Error into Status: the
// border of exceptions. With liblfm2_cuda.so, single tokens go through its graphs (CudaDecoder).
#pragma once

#include <cstdint>
#include <string>

#include "model/cuda/lfm2_cuda.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

struct TorchOptions {
  std::string device = "auto";  // "cpu", "cuda", "cuda:N", "auto"
  std::string dtype = "auto";   // "float32", "bfloat16", "auto"
  int threads = 0;              // 0: as many as there are cores
  // Keys and values, where liblfm2_cuda.so keeps them; elsewhere they grow with each sequence.
  int64_t kv_bytes = int64_t{4} << 30;
  // Null: those of liblfm2_cuda.so, on a CUDA device, where it is there. Must live for ever.
  const Lfm2CudaFunctions* kernels = nullptr;
};

// "cpu" or "cuda:N" for any of the device's names, as OpenDevice does. kDeviceUnavailable.
absl::StatusOr<std::string> ResolveDevice(const std::string& name);

// Opens the device at once (before any ATen call of the process). kDeviceUnavailable.
absl::StatusOr<ModelLoader> MakeTorchModelLoader(const TorchOptions& options);

}  // namespace lfm2
