#include "model/cuda/cuda_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/core/errors.h"
#include "model/core/program_folder.h"
#include "model/core/status_macros.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr char kFileName[] = "liblfm2_cuda.so";

absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

std::vector<fs::path> Candidates() {
  // Nobody changes the environment after the program's start.
  const char* named = std::getenv("LFM2_CUDA_LIBRARY");  // NOLINT(concurrency-mt-unsafe)
  if (named != nullptr) return {named};
  const fs::path folder = ProgramFolder();
  return {folder / kFileName, folder / ".." / "lib" / kFileName};
}

}  // namespace

absl::StatusOr<const Lfm2CudaFunctions*> OpenCudaLibraryAt(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps it by thread
    return Error(
        Reason::kUnsupported,
        absl::StrCat(kFileName, " cannot be opened: ", why != nullptr ? why : "no reason given"));
  }
  const auto table =
      reinterpret_cast<decltype(&lfm2_cuda_functions)>(dlsym(library, "lfm2_cuda_functions"));
  if (table == nullptr) {
    return Error(Reason::kUnsupported,
                 absl::StrCat(kFileName, " has no function lfm2_cuda_functions"));
  }
  const Lfm2CudaFunctions* functions = table(LFM2_CUDA_ABI);
  if (functions == nullptr || functions->abi != LFM2_CUDA_ABI) {
    return Error(Reason::kUnsupported, absl::StrCat(kFileName, " is of another version than ",
                                                    LFM2_CUDA_ABI, ", this program's"));
  }
  return functions;
}

absl::StatusOr<const Lfm2CudaFunctions*> OpenCudaLibrary() {
  std::error_code error;
  for (const fs::path& path : Candidates()) {
    if (fs::exists(path, error)) return OpenCudaLibraryAt(path.string());
  }
  return Error(Reason::kUnsupported, absl::StrCat(kFileName, " is not beside the program"));
}

absl::Status CudaStatus(const Lfm2CudaFunctions& functions, int code, std::string_view doing) {
  if (code == 0) return absl::OkStatus();
  const Reason reason = code == kLfm2CudaOutOfMemory ? Reason::kGpuOutOfMemory : Reason::kGpuFault;
  return Error(reason, absl::StrCat(AbslView(doing), ": ", functions.error_text(code)),
               {{"code", absl::StrCat(code)}});
}

absl::StatusOr<CudaContext> OpenCudaContext(const Lfm2CudaFunctions& functions, int device) {
  Lfm2CudaContext* context = nullptr;
  LFM2_RETURN_IF_ERROR(CudaStatus(functions, functions.open(device, &context), "opening the GPU"));
  return CudaContext(context, CudaContextDeleter{&functions});
}

absl::StatusOr<CudaBuffer> CudaBuffer::Make(const Lfm2CudaFunctions& functions,
                                            Lfm2CudaContext* context, int64_t bytes,
                                            CudaPlace place) {
  void* memory = nullptr;
  LFM2_RETURN_IF_ERROR(CudaStatus(
      functions, functions.allocate(context, bytes, place == CudaPlace::kHost ? 1 : 0, &memory),
      absl::StrCat("allocating ", bytes, " bytes")));
  CudaBuffer out;
  out.memory_ = std::unique_ptr<void, CudaMemoryDeleter>(memory, {&functions, context, place});
  out.bytes_ = bytes;
  return out;
}

}  // namespace lfm2
