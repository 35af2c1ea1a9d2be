// What a training run would need, as plain data. Made by the job bodies, which see LibTorch; shown
// by the RPC.
#pragma once

#include <cstdint>

namespace lfm2 {

struct TrainingPlan {
  int64_t dataset_tokens = 0, eval_tokens = 0, tokens_per_step = 0, parameters = 0,
          memory_bytes = 0, checkpoint_bytes = 0;
  double epochs = 0;
};

enum class PlanDepth {
  kRefusalsOnly,  // reads no more of the data than a refusal needs; what the data would tell stays
                  // 0
  kFull
};

}  // namespace lfm2
