// Loads a model's folder for this program's own CPU kernels. No LibTorch.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"
#include "model/kernels/matmul/packed_matrix.h"
#include "server/engine/cpu_runner.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

struct CpuLoaderOptions {
  std::string weights = "auto";  // "f32", "bf16", "int8", "int4", "auto"
  int threads = 0;               // 0: one per core
  CpuRunnerOptions runner;
};

// auto: the format that matches the stored type (float32: f32, 16 bit: bf16, Q8_0: int8, Q4_0:
// int4) of most bytes of the weights. kInvalidArgument for an unknown name.
absl::StatusOr<WeightFormat> ChooseWeightFormat(std::string_view name,
                                                const TensorArchive& weights);

// All models share one thread pool. The instruction set is the best one of the machine, or the one
// named by the environment variable LFM2_ISA. kInvalidArgument, kUnsupported.
absl::StatusOr<ModelLoader> MakeCpuModelLoader(const CpuLoaderOptions& options);

}  // namespace lfm2
