#include "model/torch/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <charconv>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "model/cuda/driver.h"
#include "model/torch/torch_cuda_library.h"

namespace lfm2 {
namespace {

constexpr int kComputeCapabilityMajor = 75;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
constexpr int kBfloat16Major = 8;            // sm_80, Ampere

absl::Status Unavailable(std::string_view message) {
  return Error(Reason::kDeviceUnavailable, message);
}

absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

// ATen looks for CUDA only once, at its first call, so the library must be loaded before.
absl::Status LoadTorchCuda() {
  static const absl::Status loaded = []() -> absl::Status {
    if (NvidiaDriver() == nullptr) {
      return Unavailable("no NVIDIA driver: libcuda.so.1 was not found");
    }
    LFM2_RETURN_IF_ERROR(CheckNvidiaDriver(NvidiaDriverCuda()));
    LFM2_RETURN_IF_ERROR(OpenTorchCuda(TorchLibraryFolders()));
    if (!at::detail::getCUDAHooks().hasCUDA()) {
      return Unavailable("there is an NVIDIA driver, but LibTorch finds no CUDA device");
    }
    return absl::OkStatus();
  }();
  return loaded;
}

absl::StatusOr<at::Device> OpenCuda(int64_t index) {
  LFM2_RETURN_IF_ERROR(LoadTorchCuda());
  const int64_t count = at::detail::getCUDAHooks().deviceCount();
  if (index >= count) {
    return Unavailable(absl::StrCat("device cuda:", index, ": this machine has ", count,
                                    count == 1 ? " CUDA device" : " CUDA devices"));
  }
  at::globalContext().lazyInitDevice(at::kCUDA);
  // On sm_90 and sm_100 LibTorch prefers cuDNN's attention, which takes 0.4 s to build a plan for
  // each new prompt length. Flash attention works for all lengths without a plan.
  at::globalContext().setSDPUseCuDNN(false);
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

absl::Status UnknownDevice(std::string_view name) {
  return Error(Reason::kInvalidArgument,
               absl::StrCat("device \"", AbslView(name), "\" is not cpu, cuda, cuda:N or auto"));
}

// sm_80 and later support bfloat16. This asks the driver, so that CUDA headers are not needed.
bool CudaHasBfloat16(int ordinal) {
  using Init = int (*)(unsigned);
  using Get = int (*)(int*, int);
  using Attribute = int (*)(int*, int, int);
  if (NvidiaDriver() == nullptr) return false;
  const auto init = reinterpret_cast<Init>(dlsym(NvidiaDriver(), "cuInit"));
  const auto get = reinterpret_cast<Get>(dlsym(NvidiaDriver(), "cuDeviceGet"));
  const auto attribute = reinterpret_cast<Attribute>(dlsym(NvidiaDriver(), "cuDeviceGetAttribute"));
  if (init == nullptr || get == nullptr || attribute == nullptr) return false;
  int device = 0, major = 0;
  return init(0) == 0 && get(&device, ordinal) == 0 &&
         attribute(&major, kComputeCapabilityMajor, device) == 0 && major >= kBfloat16Major;
}

// Every CPU with AMX has AVX512-BF16 too.
bool CpuHasBfloat16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

bool HasBfloat16(at::Device device) {
  if (device.is_cuda()) return CudaHasBfloat16(device.has_index() ? device.index() : 0);
  return device.is_cpu() && CpuHasBfloat16();
}

}  // namespace

absl::StatusOr<at::Device> OpenDevice(std::string_view name, absl::Status* why_cpu) {
  constexpr std::string_view kCudaPrefix = "cuda:";
  if (name == "cpu") return at::Device(at::kCPU);
  if (name == "meta") return at::Device(at::kMeta);
  if (name == "cuda") return OpenCuda(0);
  if (name == "auto") {
    absl::StatusOr<at::Device> cuda = OpenCuda(0);
    if (cuda.ok()) return *cuda;
    if (why_cpu != nullptr && NvidiaDriver() != nullptr) *why_cpu = cuda.status();
    return at::Device(at::kCPU);
  }
  if (name.substr(0, kCudaPrefix.size()) != kCudaPrefix) return UnknownDevice(name);
  const std::string_view digits = name.substr(kCudaPrefix.size());
  int index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size() || index < 0) {
    return UnknownDevice(name);
  }
  return OpenCuda(index);
}

absl::StatusOr<at::ScalarType> ChooseDtype(std::string_view name, at::Device device, DType stored) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name != "auto") {
    return Error(Reason::kInvalidArgument,
                 absl::StrCat("dtype \"", AbslView(name), "\" is not float32, bfloat16 or auto"));
  }
  const bool stored_16_bit = stored == DType::kBF16 || stored == DType::kF16;
  return stored_16_bit && HasBfloat16(device) ? at::kBFloat16 : at::kFloat;
}

}  // namespace lfm2
