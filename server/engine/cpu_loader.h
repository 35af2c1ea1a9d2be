// Loads a model's folder for the CPU's own kernels. No LibTorch.
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
  int threads = 0;               // 0: as many as there are cores
  CpuRunnerOptions runner;
};

// auto: the format that keeps what is stored (float32: f32, 16 bit: bf16, Q8_0: int8, Q4_0: int4);
// what most bytes of the weights are counts. kInvalidArgument for an unknown name.
absl::StatusOr<WeightFormat> ChooseWeightFormat(std::string_view name,
                                                const TensorArchive& weights);

// All models run on one pool of threads. The instruction set is the machine's best one, or the
// environment's LFM2_ISA. kInvalidArgument, kUnsupported.
absl::StatusOr<ModelLoader> MakeCpuModelLoader(const CpuLoaderOptions& options);

}  // namespace lfm2
