// A library that exports what liblfm2_torch.so does, and does none of it.
#include "server/torch/parts/build_id.h"
#include "server/torch/parts/torch_parts.h"

extern "C" const lfm2::TorchParts* lfm2_torch_parts() {
  static constexpr lfm2::TorchParts kParts = {
      LFM2_OTHER_BUILD ? lfm2::kBuildId + 1 : lfm2::kBuildId, nullptr, nullptr, nullptr, nullptr};
  return &kParts;
}
