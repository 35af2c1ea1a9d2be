// The only forward pass on LibTorch. The tokens of all sequences are concatenated in [T], without
// padding; spans say which sequence they belong to. Prefill, chunked prefill, batched decode,
// packed training, scoring and parity use this code with different spans.
//
// Thread rule: const; concurrent calls must not share a SequenceState. Throws c10::Error, as do the
// functions that it calls; torch_runner and the job bodies catch it.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>
#include <vector>

#include "model/arch/config.h"
#include "model/torch/layers/rope.h"
#include "model/torch/layers/scope.h"
#include "model/torch/span.h"
#include "model/torch/state.h"
#include "model/torch/weights.h"

namespace lfm2 {

struct ForwardBatch {
  at::Tensor
      tokens;  // [T] int64 on the weights' device, each in [0, vocab_size): the caller checks
  std::vector<Span> spans;  // in order, covering [0, T) without gaps
};

class Decoder {
 public:
  Decoder(ModelConfig config, std::shared_ptr<const Weights> weights);

  // Returns the residual stream after the final norm, [T, d]. Advances the spans' states.
  at::Tensor Hidden(const ForwardBatch& batch, const ProbeSink* probes = nullptr) const;
  // Computes logits from rows of Hidden: [n, vocab_size], in the weights' type.
  at::Tensor Logits(const at::Tensor& hidden) const;
  const at::Tensor& Head() const;  // [vocab_size, d]; the embedding when tied

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return *weights_; }
  std::unique_ptr<SequenceState> NewState() const;

 private:
  // Values shared by all layers of one pass.
  struct Pass {
    std::vector<SpanGroup> groups;
    RopeTable rope;  // empty if no layer has attention
    const ProbeSink* probes;
  };

  Pass Prepare(const ForwardBatch& batch, const ProbeSink* probes) const;
  at::Tensor RunLayer(const Pass& pass, int64_t index, at::Tensor x) const;
  at::Tensor RunBranch(const Pass& pass, int64_t index, const Branch& branch, const Scope& layer,
                       const at::Tensor& h) const;

  ModelConfig config_;
  std::vector<Layer> layers_;
  std::shared_ptr<const Weights> weights_;
  at::Tensor rope_frequencies_;  // undefined if no layer has attention
};

}  // namespace lfm2
