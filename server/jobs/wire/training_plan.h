// How thorough a plan of a training job is.
#pragma once

namespace lfm2 {

enum class PlanDepth {
  kRefusalsOnly,  // reads only the data needed for a refusal; values that depend on the data stay
                  // 0
  kFull
};

}  // namespace lfm2
