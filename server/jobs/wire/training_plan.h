// How deep a plan of a training job looks.
#pragma once

namespace lfm2 {

enum class PlanDepth {
  kRefusalsOnly,  // reads no more of the data than a refusal needs; what the data would tell stays
                  // 0
  kFull
};

}  // namespace lfm2
