// The forward pass on the CPU's own kernels: the served twin of model/torch/decoder.h, for every
// list of layers that a ModelConfig has.
//
// Promise: a sequence's logits are equal bit for bit whatever else is in the batch, however its
// tokens are cut into calls, and whatever the number of threads; between instruction sets and
// weight formats they differ. Thread rule: one thread at a time. Ownership: shares the weights,
// borrows the pool; owns its scratch memory, which grows to the largest batch seen.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/cpu/state.h"
#include "model/cpu/weights.h"
#include "model/kernels/layers/layer_kernels.h"
#include "model/kernels/machine/thread_pool.h"

namespace lfm2 {

struct CpuPass;       // pass.h
struct CpuWorkspace;  // pass.h

enum class LogitRows { kNone, kLast, kAll };

struct CpuSpan {
  std::span<const int32_t> tokens;  // at least one; each in [0, vocab_size): the caller checks
  CpuState* state = nullptr;        // reserved for the tokens; no two spans share one
  LogitRows logits = LogitRows::kNone;
  // So many of the tokens, the last ones, are guesses that CpuState::RollBack may take back. At
  // least one token is none. kLast then means the last that is no guess and all guesses.
  int64_t drafted = 0;
};

// Sees intermediate results by the names that model/torch/decoder.h gives them. Values are
// row-major and valid during the call.
using CpuProbeSink = std::function<void(const std::string& name, std::span<const float> values,
                                        const std::vector<int64_t>& shape)>;

class CpuDecoder {
 public:
  CpuDecoder(std::shared_ptr<const CpuWeights> weights, ThreadPool& pool);
  ~CpuDecoder();

  // Advances the spans' states. Logits of the rows asked for, [rows, vocab_size], in order of the
  // spans; valid until the next call. kInternal when a span is empty or its state not reserved.
  // std::bad_alloc when the scratch memory cannot grow: the states are then half advanced.
  absl::StatusOr<std::span<const float>> Forward(std::span<const CpuSpan> spans,
                                                 const CpuProbeSink* probes = nullptr);

  const CpuWeights& weights() const { return *weights_; }
  const StateShape& state_shape() const { return shape_; }
  ThreadPool& pool() const { return pool_; }
  // Since it was made: parts of layers. Moves during a forward. Any thread.
  int64_t stages_run() const { return stages_run_.load(std::memory_order_relaxed); }

 private:
  void Prepare(std::span<const CpuSpan> spans, CpuPass& pass);
  void Embed(const CpuPass& pass);
  void RunLayers(CpuPass& pass);
  void RunStage(CpuPass& pass, const CpuStage& stage);
  void RunBranch(CpuPass& pass, const CpuBranch& branch);
  void RunGatedMlp(CpuPass& pass, const CpuGatedMlp& mlp);
  // Adds what the last branch gave to the residual stream, and norms it into `normed`.
  void AddPending(CpuPass& pass);
  void AddAndNorm(CpuPass& pass, const std::vector<float>& weight);
  void KeepLogitRows(CpuPass& pass);
  std::span<const float> Logits(CpuPass& pass);

  const std::shared_ptr<const CpuWeights> weights_;
  ThreadPool& pool_;
  const StateShape shape_;
  const LayerKernels& kernels_;
  std::vector<float> rope_frequencies_;  // [head_dim / 2]
  std::unique_ptr<CpuWorkspace> work_;
  std::atomic<int64_t> stages_run_{0};
};

}  // namespace lfm2
