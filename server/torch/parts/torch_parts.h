// The parts of the daemon that need LibTorch: serving on CUDA, and planning a job before it runs.
// They are in liblfm2_torch.so, which is opened at its first use, so that a daemon that serves on
// the CPU does not load LibTorch.
//
// The library must come from the same build as the program: symbols in both resolve to the
// program's copy, so that there is only one log and one of each counter. Thread rule: any thread.
// The library stays open until the process ends.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/engine/loaded_model.h"
#include "server/jobs/bodies/bodies.h"
#include "server/torch/torch_runner.h"

namespace lfm2 {

struct TorchParts {
  uint64_t build;  // kBuildId of server/torch/parts/build_id.h, which the build makes
  decltype(&ResolveDevice) resolve_device;
  decltype(&MakeTorchModelLoader) make_model_loader;
  decltype(&PlanTrainJob) plan_train_job;
  decltype(&ProbeSource) probe_source;
};

// Opens the file named by LFM2_TORCH_LIBRARY, else the one in the program's folder. kUnsupported if
// it does not exist, cannot be opened (with the linker's message), or is from another build.
absl::StatusOr<const TorchParts*> OpenTorchParts();

}  // namespace lfm2

// The function exported by the library.
extern "C" const lfm2::TorchParts* lfm2_torch_parts();
