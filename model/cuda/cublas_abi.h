// The few cuBLAS functions that the library calls, found at run time in the copy that LibTorch has
// loaded, so that building needs neither cuBLAS's headers nor its half gigabyte of libraries. Names
// and values are those of cuBLAS 12 and 13.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstddef>

namespace lfm2::cuda {

struct Cublas {
  using Handle = void*;
  static constexpr int kTransposed = 1, kAsIs = 0;
  static constexpr int kF32 = 0, kBf16 = 14;  // cudaDataType_t
  static constexpr int kComputeF32 = 68;      // CUBLAS_COMPUTE_32F
  static constexpr int kDefaultAlgorithm = -1;
  static constexpr int kAllocFailed = 3;  // CUBLAS_STATUS_ALLOC_FAILED

  int (*create)(Handle*) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*set_stream)(Handle, cudaStream_t) = nullptr;
  int (*set_workspace)(Handle, void*, size_t) = nullptr;
  int (*gemm)(Handle, int transa, int transb, int m, int n, int k, const void* alpha, const void* a,
              int a_type, int lda, const void* b, int b_type, int ldb, const void* beta, void* c,
              int c_type, int ldc, int compute, int algorithm) = nullptr;

  bool Open() {
    void* library = nullptr;
    for (const char* name : {"libcublas.so.13", "libcublas.so.12"}) {
      if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    if (library == nullptr) return false;
    const auto find = [&](const char* name, auto& out) {
      out = reinterpret_cast<std::remove_reference_t<decltype(out)>>(dlsym(library, name));
      return out != nullptr;
    };
    return find("cublasCreate_v2", create) && find("cublasDestroy_v2", destroy) &&
           find("cublasSetStream_v2", set_stream) && find("cublasSetWorkspace_v2", set_workspace) &&
           find("cublasGemmEx", gemm);
  }
};

}  // namespace lfm2::cuda
