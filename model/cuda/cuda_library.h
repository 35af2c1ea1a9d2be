// liblfm2_cuda.so, opened at run time, so that a daemon starts without it and without a GPU.
//
// Thread rule: any thread. The library stays open for the life of the process.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/cuda/lfm2_cuda.h"

namespace lfm2 {

// Opens the file that LFM2_CUDA_LIBRARY names, else the one in the program's folder.
// kUnsupported when it does not exist, cannot be opened (with the linker's message), or has another
// version.
absl::StatusOr<const Lfm2CudaFunctions*> OpenCudaLibrary();
absl::StatusOr<const Lfm2CudaFunctions*> OpenCudaLibraryAt(const std::string& path);

// OK for 0, else kGpuOutOfMemory or kGpuFault: "<doing>: <the library's message> (code N)".
absl::Status CudaStatus(const Lfm2CudaFunctions& functions, int code, std::string_view doing);

// Called once, before a second try, to release cached device memory that is not in use.
using MemoryReserve = std::function<void()>;

// A context; the destructor closes it.
struct CudaContextDeleter {
  const Lfm2CudaFunctions* functions;
  void operator()(Lfm2CudaContext* context) const { functions->close(context); }
};
using CudaContext = std::unique_ptr<Lfm2CudaContext, CudaContextDeleter>;
absl::StatusOr<CudaContext> OpenCudaContext(const Lfm2CudaFunctions& functions, int device,
                                            const MemoryReserve& reserve = nullptr);

enum class CudaPlace { kDevice, kHost };
struct CudaMemoryDeleter {
  const Lfm2CudaFunctions* functions = nullptr;
  Lfm2CudaContext* context = nullptr;
  CudaPlace place = CudaPlace::kDevice;
  void operator()(void* memory) const {
    functions->release(context, place == CudaPlace::kHost ? 1 : 0, memory);
  }
};

// Memory of a context: on the device, or on the host if the device accesses it directly.
class CudaBuffer {
 public:
  CudaBuffer() = default;
  // kGpuOutOfMemory.
  static absl::StatusOr<CudaBuffer> Make(const Lfm2CudaFunctions& functions,
                                         Lfm2CudaContext* context, int64_t bytes, CudaPlace place,
                                         const MemoryReserve& reserve = nullptr);
  void* data() const { return memory_.get(); }
  // A pointer to `offset` bytes from the start; the offset must be aligned to T.
  template <typename T>
  T* as(int64_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(memory_.get()) + offset);
  }
  int64_t bytes() const { return bytes_; }

 private:
  std::unique_ptr<void, CudaMemoryDeleter> memory_;
  int64_t bytes_ = 0;
};

}  // namespace lfm2
