#include "server/app/model_loader.h"

#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/cuda/driver.h"
#include "server/engine/cpu_loader.h"
#include "server/torch/parts/torch_parts.h"

namespace lfm2 {
namespace {

absl::Status Contradiction(const ModelLoaderOptions& options, const std::string& rule) {
  return Error(Reason::kConfigInvalid,
               "weights is \"" + options.weights + "\" with dtype \"" + options.dtype +
                   "\" on device \"" + options.device + "\": " + rule,
               {{"key", "weights"}, {"value", options.weights}});
}

// The dtype names of the two formats that have one.
absl::StatusOr<std::string> CpuWeightsOf(const ModelLoaderOptions& options) {
  if (options.dtype == "auto") return options.weights;
  const std::string same = options.dtype == "float32" ? "f32" : "bf16";
  if (options.weights != "auto" && options.weights != same) {
    return Contradiction(options, "set one of the two");
  }
  return same;
}

// "cpu" or "cuda:N". Asks LibTorch only when there may be a GPU.
absl::StatusOr<std::string> DeviceOf(const std::string& name) {
  if (name == "cpu" || (name == "auto" && NvidiaDriver() == nullptr)) return std::string("cpu");
  LFM2_ASSIGN_OR_RETURN(const TorchParts* torch, OpenTorchParts());
  return torch->resolve_device(name);
}

}  // namespace

absl::StatusOr<ModelLoader> MakeModelLoader(const ModelLoaderOptions& options) {
  LFM2_ASSIGN_OR_RETURN(const std::string device, DeviceOf(options.device));
  if (device == "cpu") {
    CpuLoaderOptions cpu;
    LFM2_ASSIGN_OR_RETURN(cpu.weights, CpuWeightsOf(options));
    cpu.threads = options.threads;
    cpu.runner.kv_bytes = options.kv_bytes;
    cpu.runner.prefix_cache_bytes = options.prefix_cache_bytes;
    return MakeCpuModelLoader(cpu);
  }
  TorchOptions torch{device, options.dtype, options.threads, options.kv_bytes};
  if (options.weights == "int8" || options.weights == "int4") {
    return Contradiction(options, "CUDA serves float32 and bfloat16");
  }
  if (options.weights != "auto") torch.dtype = options.weights == "f32" ? "float32" : "bfloat16";
  if (options.dtype != "auto" && options.dtype != torch.dtype) {
    return Contradiction(options, "set one of the two");
  }
  LFM2_ASSIGN_OR_RETURN(const TorchParts* parts, OpenTorchParts());
  return parts->make_model_loader(torch);
}

}  // namespace lfm2
