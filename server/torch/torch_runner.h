// ModelRunner with LibTorch, and the loader that makes it. Converts c10::Error to Status, so
// exceptions do not leave it. With liblfm2_cuda.so, single tokens run through its graphs
// (CudaDecoder).
#pragma once

#include <cstdint>
#include <string>

#include "model/cuda/lfm2_cuda.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

struct TorchOptions {
  std::string device = "auto";  // "cpu", "cuda", "cuda:N", "auto"
  std::string dtype = "auto";   // "float32", "bfloat16", "auto"
  int threads = 0;              // 0: one per core
  // For keys and values with liblfm2_cuda.so; otherwise they grow with each sequence.
  int64_t kv_bytes = int64_t{4} << 30;
  // Null: those of liblfm2_cuda.so, if present, on a CUDA device. Must live until the process ends.
  const Lfm2CudaFunctions* kernels = nullptr;
};

// Resolves a device name to "cpu" or "cuda:N", as OpenDevice does. kDeviceUnavailable.
absl::StatusOr<std::string> ResolveDevice(const std::string& name);

// Opens the device immediately (before any ATen call of the process). kDeviceUnavailable.
absl::StatusOr<ModelLoader> MakeTorchModelLoader(const TorchOptions& options);

}  // namespace lfm2
