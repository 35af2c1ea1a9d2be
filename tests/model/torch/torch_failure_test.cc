#include "model/torch/torch_failure.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

TEST(TorchFailure, WhatCudaAndItsLibrariesReportIsAFaultOfTheGpu) {
  for (const char* message :
       {"CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be",
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(`",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "CUDA driver error: unspecified launch failure",
        "CUDA error 700 copying keys and values: an illegal memory access was encountered"}) {
    EXPECT_EQ(ReasonOfTorchFailure(message, true), Reason::kGpuFault) << message;
  }
}

TEST(TorchFailure, MemoryIsNoFault) {
  for (const char* message : {"CUDA error: out of memory",
                              "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate",
                              "CUDA error 2 copying keys and values: out of memory"}) {
    EXPECT_EQ(ReasonOfTorchFailure(message, true), Reason::kGpuOutOfMemory) << message;
  }
  EXPECT_EQ(ReasonOfTorchFailure("DefaultCPUAllocator: can't allocate memory: you tried", false),
            Reason::kOutOfMemory);
  EXPECT_EQ(ReasonOfTorchFailure("[enforce fail] not enough memory: you tried", false),
            Reason::kOutOfMemory);
}

TEST(TorchFailure, TheRestIsAFaultOfTheProgram) {
  EXPECT_EQ(ReasonOfTorchFailure("The size of tensor a (3) must match", true), Reason::kInternal);
  EXPECT_EQ(ReasonOfTorchFailure("CUDA error: whatever", false), Reason::kInternal);
}

}  // namespace
}  // namespace lfm2
