// Chooses the device and the number type for a model.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

// "cpu", "cuda", "cuda:N" or "auto" (CUDA if available, else CPU); also "meta" for tests (shapes
// without values). If the result may be CUDA, call this before the first ATen call of the process,
// because it loads libtorch_cuda.so. kDeviceUnavailable naming what is missing. If auto chooses the
// CPU although there is an NVIDIA driver, `*why_cpu` is set to that error.
absl::StatusOr<at::Device> OpenDevice(std::string_view name, absl::Status* why_cpu = nullptr);

// "float32", "bfloat16" or "auto". auto: bfloat16 if the stored weights are 16 bit and the device
// has instructions for it (AVX512-BF16 or AMX on the CPU, sm_80 on CUDA), else float32, so that a
// float32 model is served exactly.
absl::StatusOr<at::ScalarType> ChooseDtype(std::string_view name, at::Device device, DType stored);

}  // namespace lfm2
