// The LibTorch form of ModelRunner, and the loader that makes it. Turns c10::Error into Status: the
// border of exceptions.
#pragma once

#include <string>

#include "server/engine/loaded_model.h"

namespace lfm2 {

struct TorchOptions {
  std::string device = "auto";  // "cpu", "cuda", "cuda:N", "auto"
  std::string dtype = "auto";   // "float32", "bfloat16", "auto"
  int threads = 0;              // 0: as many as there are cores
};

// "cpu" or "cuda:N" for any of the device's names, as OpenDevice does. kDeviceUnavailable.
absl::StatusOr<std::string> ResolveDevice(const std::string& name);

// Opens the device at once (before any ATen call of the process). kDeviceUnavailable.
absl::StatusOr<ModelLoader> MakeTorchModelLoader(const TorchOptions& options);

}  // namespace lfm2
