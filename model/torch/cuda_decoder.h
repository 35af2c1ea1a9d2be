// The decoder for a GPU with liblfm2_cuda.so. Prompts run through Decoder with LibTorch, single
// tokens through DecodeStep's CUDA graphs. Both use the same memory: keys and values in blocks of
// one pool, recurrent states in slots of another.
//
// Thread rule: one thread at a time, also for destroying sequences. Ownership: sequences return
// their blocks and slot to the pools, so this object must outlive them.
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
  int sequences = 256;                  // at most this many at once
  int step_rows = 64;                   // per decode step; more rows take several steps
};

// The next token of one sequence.
struct CudaItem {
  SequenceState* state = nullptr;            // made by NewState
  int32_t token = 0;                         // in [0, vocab_size)
  const SamplingParams* sampling = nullptr;  // null: no token is sampled
  std::span<const int32_t> history;          // as for SampleToken; the same sequence's at each call
  int64_t index = 0;
  std::span<const uint32_t> allowed;
};

struct CudaResult {
  bool finite = true;            // false: a logit is not finite, and there is no sample
  std::optional<Sample> sample;  // if one was requested
};

class CudaDecoder {
 public:
  // Packs the projections of `weights` that share an input into one tensor each and makes them
  // views of it, so no other thread may read them during the call. kGpuOutOfMemory, kGpuFault;
  // throws LibTorch's exceptions.
  static absl::StatusOr<std::unique_ptr<CudaDecoder>> Make(const Lfm2CudaFunctions& functions,
                                                           const ModelConfig& config,
                                                           std::shared_ptr<Weights> weights,
                                                           const CudaDecoderOptions& options);
  ~CudaDecoder();

  const Decoder& decoder() const { return decoder_; }

  // kGpuOutOfMemory if all slots are in use.
  absl::StatusOr<std::unique_ptr<SequenceState>> NewState();
  // Reserves blocks for `tokens` more tokens; call it before a pass. kGpuOutOfMemory; the sequence
  // is then unchanged.
  absl::Status Reserve(SequenceState& state, int64_t tokens);
  // Computes one token for each item; every state must have reserved it. Greedy and seeded sampling
  // run on the device; a row with logprobs is sampled on the host from its logits. Returns one
  // result per item.
  absl::StatusOr<std::vector<CudaResult>> Step(std::span<const CudaItem> items);

  // Any thread.
  int64_t blocks_in_use() const { return blocks_in_use_.load(std::memory_order_relaxed); }
  int64_t blocks() const { return pools_.blocks; }
  int64_t BlocksOf(int64_t tokens) const;  // 0: the model has no attention

 private:
  class Sequence;  // the KvStore of one sequence

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
  std::vector<at::Tensor> kept_;  // tensors that DecodeStep points to, except weights and pools
  CudaPools pools_;
  int64_t block_bytes_ = 0;  // of all layers
  std::vector<int32_t> free_blocks_, free_slots_;
  std::atomic<int64_t> blocks_in_use_{0};
  std::unique_ptr<DecodeStep> step_;
};

}  // namespace lfm2
