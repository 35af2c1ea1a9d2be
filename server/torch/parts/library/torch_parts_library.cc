// liblfm2_torch.so.
#include "server/torch/parts/build_id.h"
#include "server/torch/parts/torch_parts.h"

extern "C" const lfm2::TorchParts* lfm2_torch_parts() {
  static constexpr lfm2::TorchParts kParts = {lfm2::kBuildId, &lfm2::ResolveDevice,
                                              &lfm2::MakeTorchModelLoader, &lfm2::PlanTrainJob,
                                              &lfm2::ProbeSource};
  return &kParts;
}
