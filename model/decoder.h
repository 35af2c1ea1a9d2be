// The one forward pass. Tokens of all sequences stand one after another in [T]; spans say whose they are; no padding.
// Prefill, chunked prefill, batched decode, packed training, scoring and parity are this code with other spans.
//
// Thread rule: const; concurrent calls must not share a SequenceState. Throws c10::Error, which torch_runner and the job
// bodies catch; everything below here may throw it too.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "model/formats/config.h"
#include "model/state.h"
#include "model/weights.h"

namespace lfm2 {

struct Span {
  int64_t begin = 0;   // first row of [T]
  int64_t length = 0;
  SequenceState* state = nullptr;  // null: starts from zero, and what it ends with is dropped (training, scoring)
};

struct ForwardBatch {
  at::Tensor tokens;  // [T] int64 on the weights' device
  std::vector<Span> spans;  // in order, covering [0, T) without holes
};

// Sees intermediate results by name ("model.layers.0.conv.in_proj", "model.layers.0", …, "logits").
using ProbeSink = std::function<void(const std::string& name, const at::Tensor& value)>;

class Decoder {
 public:
  Decoder(ModelConfig config, std::shared_ptr<const Weights> weights);

  // Residual stream after the final norm, [T, d]. Advances the spans' states.
  at::Tensor Hidden(const ForwardBatch& batch, const ProbeSink* probes = nullptr) const;
  // Rows of Hidden to logits, [n, vocab_size].
  at::Tensor Logits(const at::Tensor& hidden) const;

  const ModelConfig& config() const { return config_; }
  const Weights& weights() const { return *weights_; }
  std::unique_ptr<SequenceState> NewState() const;

 private:
  ModelConfig config_;
  std::vector<Layer> layers_;
  std::shared_ptr<const Weights> weights_;
};

}  // namespace lfm2
