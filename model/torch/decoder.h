// The one forward pass. Tokens of all sequences stand one after another in [T]; spans say whose
// they are; no padding. Prefill, chunked prefill, batched decode, packed training, scoring and
// parity are this code with other spans.
//
// Thread rule: const; concurrent calls must not share a SequenceState. Throws c10::Error, which
// torch_runner and the job bodies catch; everything below here may throw it too.
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
  std::vector<Span> spans;  // in order, covering [0, T) without holes
};

class Decoder {
 public:
  Decoder(ModelConfig config, std::shared_ptr<const Weights> weights);

  // Residual stream after the final norm, [T, d]. Advances the spans' states.
  at::Tensor Hidden(const ForwardBatch& batch, const ProbeSink* probes = nullptr) const;
  // Rows of Hidden to logits, [n, vocab_size], in the weights' type.
  at::Tensor Logits(const at::Tensor& hidden) const;
  const at::Tensor& Head() const;  // [vocab_size, d]; the embedding when tied

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return *weights_; }
  std::unique_ptr<SequenceState> NewState() const;

 private:
  // What every layer of one pass shares.
  struct Pass {
    std::vector<SpanGroup> groups;
    RopeTable rope;  // empty when no layer attends
    const ProbeSink* probes;
  };

  Pass Prepare(const ForwardBatch& batch, const ProbeSink* probes) const;
  at::Tensor RunLayer(const Pass& pass, int64_t index, at::Tensor x) const;
  at::Tensor RunBranch(const Pass& pass, int64_t index, const Branch& branch, const Scope& layer,
                       const at::Tensor& h) const;

  ModelConfig config_;
  std::vector<Layer> layers_;
  std::shared_ptr<const Weights> weights_;
  at::Tensor rope_frequencies_;  // undefined when no layer attends
};

}  // namespace lfm2
