// ModelRunner with this program's own CPU kernels and the prefix cache. No LibTorch.
//
// Thread rule: as ModelRunner. Ownership: shares weights and thread pool; owns the memory of keys
// and values, so it must outlive its states.
#pragma once

#include <cstdint>
#include <memory>

#include "model/cpu/weights.h"
#include "model/kernels/machine/thread_pool.h"
#include "server/engine/model_runner.h"

namespace lfm2 {

struct CpuRunnerOptions {
  int64_t kv_bytes = int64_t{4} << 30;            // keys and values of sequences and cache
  int64_t prefix_cache_bytes = int64_t{1} << 30;  // of that, for ended sequences; 0: no cache
  int64_t checkpoint_tokens = 256;                // between checkpoints of SSM states
};

std::unique_ptr<ModelRunner> MakeCpuRunner(std::shared_ptr<const CpuWeights> weights,
                                           std::shared_ptr<ThreadPool> pool,
                                           const CpuRunnerOptions& options);

}  // namespace lfm2
