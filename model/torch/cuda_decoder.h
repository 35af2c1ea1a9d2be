// The decoder for a GPU with liblfm2_cuda.so: prompts go through Decoder's pass on LibTorch, single
// tokens through DecodeStep's graphs, and both work on one memory: keys and values in blocks of one
// pool, recurrent states in slots of another.
//
// Thread rule: one thread at a time, the sequences' destruction included. Ownership: sequences
// return their blocks and slot to the pools, so this outlives them.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "model/cuda/cuda_library.h"
#include "model/cuda/decode_step.h"
#include "model/sampling/sampler.h"
#include "model/torch/cuda_model.h"
#include "model/torch/decoder.h"

namespace lfm2 {

struct CudaDecoderOptions {
  int device = 0;
  int64_t kv_bytes = int64_t{4} << 30;  // keys and values of all sequences
  int sequences = 256;                  // that there can be at once
  int step_rows = 64;                   // that one decode step takes; more make more steps
};

// The next token of one sequence.
struct CudaItem {
  SequenceState* state = nullptr;            // one of NewState's
  int32_t token = 0;                         // in [0, vocab_size)
  const SamplingParams* sampling = nullptr;  // null: no token is drawn
  std::span<const int32_t> history;          // as SampleToken's, the same sequence's at each call
  int64_t index = 0;
  std::span<const uint32_t> allowed;
};

struct CudaResult {
  bool finite = true;            // false: a logit is not, and there is no sample
  std::optional<Sample> sample;  // where one was asked for
};

class CudaDecoder {
 public:
  // Packs the projections of `weights` that share an input (each stays a view of its part), so no
  // other thread may read them meanwhile. kGpuOutOfMemory, kGpuFault; throws what LibTorch throws.
  static absl::StatusOr<std::unique_ptr<CudaDecoder>> Make(const Lfm2CudaFunctions& functions,
                                                           const ModelConfig& config,
                                                           std::shared_ptr<Weights> weights,
                                                           const CudaDecoderOptions& options);
  ~CudaDecoder();

  const Decoder& decoder() const { return decoder_; }

  // kGpuOutOfMemory when all slots are taken.
  absl::StatusOr<std::unique_ptr<SequenceState>> NewState();
  // Blocks for that many more tokens. To be called before a pass; a sequence that gets none stays
  // as it is. kGpuOutOfMemory.
  absl::Status Reserve(SequenceState& state, int64_t tokens);
  // One token of each; every state has reserved it. Greedy and seeded sampling happen on the
  // device; a row that asks for logprobs is sampled here from its logits. One result an item.
  absl::StatusOr<std::vector<CudaResult>> Step(std::span<const CudaItem> items);

  // Any thread.
  int64_t blocks_in_use() const { return blocks_in_use_.load(std::memory_order_relaxed); }
  int64_t blocks() const { return pools_.blocks; }
  int64_t BlocksOf(int64_t tokens) const;  // 0: nothing attends

 private:
  class Sequence;  // the KvStore of one

  CudaDecoder(const Lfm2CudaFunctions& functions, CudaContext context, const ModelConfig& config,
              std::shared_ptr<Weights> weights);
  absl::Status MakePools(const CudaDecoderOptions& options);
  void NoteUsage() {
    blocks_in_use_.store(pools_.blocks - static_cast<int64_t>(free_blocks_.size()),
                         std::memory_order_relaxed);
  }
  DecodeRow RowOf(const CudaItem& item) const;
  absl::Status StepSome(std::span<const CudaItem> items, std::vector<CudaResult>& results);

  const Lfm2CudaFunctions& f_;
  const CudaContext context_;
  const std::shared_ptr<Weights> weights_;
  const Decoder decoder_;
  std::vector<at::Tensor> kept_;  // what DecodeStep points to beside the weights and the pools
  CudaPools pools_;
  int64_t block_bytes_ = 0;  // of all layers
  std::vector<int32_t> free_blocks_, free_slots_;
  std::atomic<int64_t> blocks_in_use_{0};
  std::unique_ptr<DecodeStep> step_;
};

}  // namespace lfm2
