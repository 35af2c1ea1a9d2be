#include "model/torch/decoder.h"

#include <algorithm>
#include <utility>

#include "model/torch/layers/attention.h"
#include "model/torch/layers/diagonal_ssm.h"
#include "model/torch/layers/gated_mlp.h"
#include "model/torch/layers/short_conv.h"

namespace lfm2 {
namespace {

// Positions of all rows, starting at each span's state: [T] int64.
at::Tensor PositionsOf(const std::vector<Span>& spans, at::Device device) {
  std::vector<int64_t> positions;
  for (const Span& span : spans) {
    const int64_t first = span.state == nullptr ? 0 : span.state->position();
    for (int64_t i = 0; i < span.length; ++i) positions.push_back(first + i);
  }
  return at::tensor(positions, at::TensorOptions().dtype(at::kLong)).to(device);
}

}  // namespace

Decoder::Decoder(ModelConfig config, std::shared_ptr<const Weights> weights)
    : config_(std::move(config)), layers_(config_.Layers()), weights_(std::move(weights)) {
  const auto& attends = config_.attention_layers;
  if (std::find(attends.begin(), attends.end(), true) != attends.end()) {
    rope_frequencies_ = RopeFrequencies(config_.head_dim, config_.rope_theta, weights_->device());
  }
}

std::unique_ptr<SequenceState> Decoder::NewState() const {
  return std::make_unique<SequenceState>(config_, weights_->device(), weights_->dtype());
}

at::Tensor Decoder::Hidden(const ForwardBatch& batch, const ProbeSink* probes) const {
  const Scope model(*weights_, probes, config_.names(), /*layer=*/-1);
  const Pass pass = Prepare(batch, probes);
  at::Tensor x = at::index(model[Role::kEmbedding], {batch.tokens});
  model.Probe(Role::kEmbedding, x);
  for (int64_t i = 0; i < config_.num_layers(); ++i) x = RunLayer(pass, i, std::move(x));
  for (const Span& span : batch.spans) {
    if (span.state != nullptr) span.state->Advance(span.length);
  }
  return model.Norm(Role::kFinalNorm, x, config_.norm_eps);
}

at::Tensor Decoder::Logits(const at::Tensor& hidden) const { return at::linear(hidden, Head()); }

const at::Tensor& Decoder::Head() const {
  return (*weights_)[config_.Weight(config_.tie_word_embeddings ? Role::kEmbedding : Role::kHead)];
}

Decoder::Pass Decoder::Prepare(const ForwardBatch& batch, const ProbeSink* probes) const {
  TORCH_CHECK(batch.tokens.dim() == 1 && batch.tokens.scalar_type() == at::kLong,
              "tokens must be [T] int64");
  Pass pass{GroupSpans(batch.spans, batch.tokens.size(0)), {}, probes};
  if (rope_frequencies_.defined()) {
    pass.rope = MakeRopeTable(PositionsOf(batch.spans, weights_->device()), rope_frequencies_,
                              weights_->dtype());
  }
  return pass;
}

at::Tensor Decoder::RunLayer(const Pass& pass, int64_t index, at::Tensor x) const {
  const Scope layer(*weights_, pass.probes, config_.names(), index);
  for (const Stage& stage : layers_[static_cast<size_t>(index)]) {
    const at::Tensor h = layer.Norm(stage.norm, x, config_.norm_eps);
    for (const Branch& branch : stage.branches) {
      x = x + RunBranch(pass, index, branch, layer, h);
    }
  }
  if (pass.probes != nullptr) (*pass.probes)(LayerName(index), x);
  return x;
}

at::Tensor Decoder::RunBranch(const Pass& pass, int64_t index, const Branch& branch,
                              const Scope& layer, const at::Tensor& h) const {
  const Scope scope = layer.Inner(branch.prefix);
  switch (branch.kind) {
    case BlockKind::kAttention:
      return Attention(scope, config_, pass.rope, pass.groups, index, h);
    case BlockKind::kShortConv:
      return ShortConv(scope, pass.groups, index, h);
    case BlockKind::kDiagonalSsm:
      return DiagonalSsm(scope, pass.groups, index, h);
    case BlockKind::kGatedMlp:
      return GatedMlp(scope, h);
  }
  TORCH_CHECK(false, "layer ", index, " has an unknown kind of block");
}

}  // namespace lfm2
