// Which device and number type a model runs with.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

// "cpu", "cuda", "cuda:N" or "auto" (CUDA when there is one, else CPU); also "meta", for tests:
// shapes without values. Must be called before the first ATen call of the process when the answer
// may be CUDA: it loads libtorch_cuda.so then. kDeviceUnavailable with what is missing. `why_cpu`
// becomes that when auto means the CPU although there is an NVIDIA driver.
absl::StatusOr<at::Device> OpenDevice(std::string_view name, absl::Status* why_cpu = nullptr);

// "float32", "bfloat16" or "auto". auto: bfloat16 when the weights themselves are 16 bit and the
// device has instructions for it (AVX512-BF16 or AMX on the CPU, sm_80 on CUDA), float32 otherwise,
// so that a float32 model is served exactly.
absl::StatusOr<at::ScalarType> ChooseDtype(std::string_view name, at::Device device, DType stored);

}  // namespace lfm2
