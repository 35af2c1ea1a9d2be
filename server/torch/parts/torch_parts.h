// What of the daemon needs LibTorch: serving on CUDA, and what is known of a job before it runs.
// All of it is in liblfm2_torch.so, which is opened at its first use, so that a daemon that serves
// on the CPU neither waits until LibTorch is linked nor holds it in memory.
//
// The library is of the program's own build: its references to what both have go to the program's
// copy, so there is one log, one counter of each kind.
// Thread rule: any thread. It stays open for the life of the process.
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

// From the file that LFM2_TORCH_LIBRARY names, else from beside the program. kUnsupported when it
// is not there, cannot be opened (with what the linker says), or is of another build.
absl::StatusOr<const TorchParts*> OpenTorchParts();

}  // namespace lfm2

// What the library exports.
extern "C" const lfm2::TorchParts* lfm2_torch_parts();
