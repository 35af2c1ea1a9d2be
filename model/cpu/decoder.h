// The forward pass with this program's own CPU kernels, for any ModelConfig. This is what the CPU
// serves; model/torch/decoder.h is its twin.
//
// Guarantee: a sequence's logits are bit-identical whatever else is in the batch, however its
// tokens are split into calls, and for any number of threads. They differ between instruction sets
// and weight formats. Thread rule: one thread at a time. Ownership: shares the weights, borrows the
// pool; owns its scratch memory, which grows to the largest batch seen.
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
  std::span<const int32_t> tokens;  // at least one; caller checks: each in [0, vocab_size)
  CpuState* state = nullptr;        // reserved for the tokens; no two spans share one
  LogitRows logits = LogitRows::kNone;
  // Number of drafted tokens at the end of `tokens`, which CpuState::RollBack may remove again;
  // less than tokens.size(). kLast then means the last token that is not drafted and all drafted
  // ones.
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

  // Advances the spans' states. Returns the logits of the requested rows, [rows, vocab_size], in
  // order of the spans; valid until the next call. kInternal if a span is empty or its state is not
  // reserved. Throws std::bad_alloc if the scratch memory cannot grow; the states are then partly
  // advanced and unusable.
  absl::StatusOr<std::span<const float>> Forward(std::span<const CpuSpan> spans,
                                                 const CpuProbeSink* probes = nullptr);

  const CpuWeights& weights() const { return *weights_; }
  const StateShape& state_shape() const { return shape_; }
  ThreadPool& pool() const { return pool_; }
  // Stages computed since construction. Increases during a forward pass. Any thread.
  int64_t stages_run() const { return stages_run_.load(std::memory_order_relaxed); }

 private:
  void Prepare(std::span<const CpuSpan> spans, CpuPass& pass);
  void Embed(const CpuPass& pass);
  void RunLayers(CpuPass& pass);
  void RunStage(CpuPass& pass, const CpuStage& stage);
  void RunBranch(CpuPass& pass, const CpuBranch& branch);
  void RunGatedMlp(CpuPass& pass, const CpuGatedMlp& mlp);
  // Adds the last branch's output to the residual stream and writes its norm to `normed`.
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
