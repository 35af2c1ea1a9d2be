#include "model/cuda/cuda_library.h"

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/program_library.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr char kFileName[] = "liblfm2_cuda.so";

absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

absl::StatusOr<const Lfm2CudaFunctions*> FunctionsOf(void* library) {
  decltype(&lfm2_cuda_functions) table = nullptr;
  if (!FindFunction(library, "lfm2_cuda_functions", table)) {
    return Error(Reason::kUnsupported,
                 absl::StrCat(kFileName, " has no function lfm2_cuda_functions"));
  }
  const Lfm2CudaFunctions* functions = table(LFM2_CUDA_ABI);
  if (functions == nullptr || functions->abi != LFM2_CUDA_ABI) {
    return Error(Reason::kUnsupported, absl::StrCat(kFileName, " has another version than ",
                                                    LFM2_CUDA_ABI, ", this program's"));
  }
  return functions;
}

template <typename Try>
int TryTwice(const MemoryReserve& reserve, Try&& once) {
  const int code = once();
  if (code != kLfm2CudaOutOfMemory || reserve == nullptr) return code;
  reserve();
  return once();
}

}  // namespace

absl::StatusOr<const Lfm2CudaFunctions*> OpenCudaLibraryAt(const std::string& path) {
  LFM2_ASSIGN_OR_RETURN(void* const library, OpenLibrary(path));
  return FunctionsOf(library);
}

absl::StatusOr<const Lfm2CudaFunctions*> OpenCudaLibrary() {
  LFM2_ASSIGN_OR_RETURN(void* const library, OpenProgramLibrary(kFileName, "LFM2_CUDA_LIBRARY"));
  return FunctionsOf(library);
}

absl::Status CudaStatus(const Lfm2CudaFunctions& functions, int code, std::string_view doing) {
  if (code == 0) return absl::OkStatus();
  const Reason reason = code == kLfm2CudaOutOfMemory ? Reason::kGpuOutOfMemory : Reason::kGpuFault;
  return Error(
      reason, absl::StrCat(AbslView(doing), ": ", functions.error_text(code), " (code ", code, ")"),
      {{"code", absl::StrCat(code)}});
}

absl::StatusOr<CudaContext> OpenCudaContext(const Lfm2CudaFunctions& functions, int device,
                                            const MemoryReserve& reserve) {
  Lfm2CudaContext* context = nullptr;
  const int code = TryTwice(reserve, [&] { return functions.open(device, &context); });
  LFM2_RETURN_IF_ERROR(CudaStatus(functions, code, "opening the GPU"));
  return CudaContext(context, CudaContextDeleter{&functions});
}

absl::StatusOr<CudaBuffer> CudaBuffer::Make(const Lfm2CudaFunctions& functions,
                                            Lfm2CudaContext* context, int64_t bytes,
                                            CudaPlace place, const MemoryReserve& reserve) {
  void* memory = nullptr;
  const int on_host = place == CudaPlace::kHost ? 1 : 0;
  const int code =
      TryTwice(reserve, [&] { return functions.allocate(context, bytes, on_host, &memory); });
  LFM2_RETURN_IF_ERROR(CudaStatus(functions, code, absl::StrCat("allocating ", bytes, " bytes")));
  CudaBuffer out;
  out.memory_ = std::unique_ptr<void, CudaMemoryDeleter>(memory, {&functions, context, place});
  out.bytes_ = bytes;
  return out;
}

}  // namespace lfm2
