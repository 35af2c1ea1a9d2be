#include "model/kernels/matmul/matmul.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>

#include "model/kernels/matmul/panel_kernel.h"
#include "model/kernels/matmul/panel_layout.h"

namespace lfm2 {
namespace {

using KernelGetter = const PanelKernel* (*)(int streams);

// By Isa, then by WeightFormat.
constexpr KernelGetter kKernels[5][4] = {
    {PortableF32Kernel, PortableBF16Kernel, PortableInt8Kernel, PortableInt4Kernel},
#if defined(__x86_64__)
    {Avx2F32Kernel, Avx2BF16Kernel, Avx2Int8Kernel, Avx2Int4Kernel},
    {Avx512F32Kernel, Avx512BF16Kernel, Avx512Int8Kernel, Avx512Int4Kernel},
    {Avx512F32Kernel, Avx512DotBF16Kernel, Avx512Int8Kernel, Avx512Int4Kernel},
    {Avx512F32Kernel, AmxBF16Kernel, Avx512Int8Kernel, Avx512Int4Kernel},
#endif
};

const PanelKernel& KernelFor(const PackedMatrix& w, int64_t tokens) {
  static const int streams = MemoryStreams();
#if defined(__x86_64__)
  // From this many tokens on AMX is faster; it gives the same numbers.
  constexpr int64_t kAmxIntTokens = 32;
  if (w.isa() == Isa::kAmx && tokens >= kAmxIntTokens) {
    if (w.format() == WeightFormat::kInt8) return *AmxInt8Kernel(streams);
    if (w.format() == WeightFormat::kInt4) return *AmxInt4Kernel(streams);
  }
#endif
  return *kKernels[static_cast<size_t>(w.isa())][static_cast<size_t>(w.format())](streams);
}

// Grows and is freed only when the thread ends, so that a decoding step does not allocate.
class Scratch {
 public:
  std::byte* Reserve(int64_t bytes) {
    if (bytes > bytes_) {
      const int64_t grown = std::max(bytes, bytes_ * 3 / 2);
      data_.reset();
      data_.reset(new (kAlignment) std::byte[static_cast<size_t>(grown)]);
      bytes_ = grown;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(std::byte* data) const { operator delete[](data, kAlignment); }
  };
  std::unique_ptr<std::byte[], Free> data_;
  int64_t bytes_ = 0;
};

// Less work than this is not worth waking a thread.
constexpr int64_t kRangeBytes = 16 << 10;   // weights to read
constexpr int64_t kRangeValues = 16 << 10;  // activations to round
constexpr int64_t kRangesPerThread = 4;     // with fewer panels per thread, tiles are split too

// More tokens are computed in turns, and so are the columns of a turn, so that the rounded
// activations stay in the second-level cache while all weights are read. Reading weights or sums
// again costs less than reading activations from further away.
constexpr int64_t kTurnTokens = 256;

// Half of the second-level cache; weights use the other half.
int64_t CachedBytes() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (cache > 0) return int64_t{cache} / 2;
#endif
    return int64_t{512} << 10;
  }();
  return bytes;
}

// Tokens of a turn: as many as keep their activations cached, in blocks of similar size.
int64_t StepsAtOnce(const PanelTask& task) {
  const int64_t blocks = CeilDiv(task.tiles * task.tile_bytes, CachedBytes());
  return CeilDiv(CeilDiv(task.steps, blocks), kRangeSteps) * kRangeSteps;
}

void PackActivations(const PanelKernel& kernel, const PanelTask& task, const float* x, int64_t cols,
                     std::byte* to, ThreadPool& pool) {
  const int64_t tile_values = CeilDiv(task.tokens, task.tiles) * cols;
  pool.ParallelFor(task.tiles, CeilDiv(kRangeValues, tile_values), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t token = TileBegin(task.tokens, task.tiles, i);
      const int64_t tokens = TileBegin(task.tokens, task.tiles, i + 1) - token;
      kernel.pack(x + token * cols, cols, tokens, task.steps, to + i * task.tile_bytes);
    }
  });
}

void RunPanels(const PanelKernel& kernel, const PanelTask& task, int64_t step, int64_t step_end,
               ThreadPool& pool) {
  const int64_t at_once = kernel.panels_at_once(CeilDiv(task.tokens, task.tiles));
  const int64_t panels = PanelsOf(task.rows);
  const int64_t bundles = CeilDiv(panels, at_once);
  const int64_t cuts = std::min(task.tiles, CeilDiv(kRangesPerThread * pool.threads(), bundles));
  const int64_t range_bytes = at_once * task.panel_bytes / task.steps * (step_end - step);
  const int64_t grain = CeilDiv(kRangeBytes, range_bytes * CeilDiv(task.tiles, cuts));
  pool.ParallelFor(bundles * cuts, grain, [&](int64_t begin, int64_t end) {
    // Consecutive bundles of one cut are contiguous in memory.
    while (begin < end) {
      const int64_t cut = begin / bundles;
      const int64_t stop = std::min(end, (cut + 1) * bundles);
      kernel.run(task, {(begin - cut * bundles) * at_once,
                        std::min((stop - cut * bundles) * at_once, panels), cut * task.tiles / cuts,
                        (cut + 1) * task.tiles / cuts, step, step_end});
      begin = stop;
    }
  });
}

// Of one turn.
void MultiplyTurn(const PackedMatrix& w, const float* x, int64_t tokens, float* y,
                  ThreadPool& pool) {
  thread_local Scratch scratch;
  const PanelKernel& kernel = KernelFor(w, tokens);
  PanelTask task;
  task.weights = w.data();
  task.steps = StepsOf(w.format(), w.cols());
  task.panel_bytes = task.steps * StepBytes(w.format());
  task.rows = w.rows();
  task.tokens = tokens;
  task.tiles = CeilDiv(tokens, kernel.tile_tokens);
  task.tile_bytes = kernel.tile_bytes(CeilDiv(tokens, task.tiles), task.steps);
  task.y = y;
  std::byte* const activations = scratch.Reserve(task.tiles * task.tile_bytes);
  PackActivations(kernel, task, x, w.cols(), activations, pool);
  task.activations = activations;
  const int64_t at_once = StepsAtOnce(task);
  for (int64_t step = 0; step < task.steps; step += at_once) {
    RunPanels(kernel, task, step, std::min(step + at_once, task.steps), pool);
  }
}

}  // namespace

void MatMul(const PackedMatrix& w, const float* x, int64_t tokens, float* y, ThreadPool& pool) {
  for (int64_t begin = 0; begin < tokens; begin += kTurnTokens) {
    MultiplyTurn(w, x + begin * w.cols(), std::min(kTurnTokens, tokens - begin),
                 y + begin * w.rows(), pool);
  }
}

}  // namespace lfm2
