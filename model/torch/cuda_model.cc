#include "model/torch/cuda_model.h"

#include <string>
#include <utility>

#include "model/torch/layers/diagonal_ssm.h"
#include "model/torch/layers/rope.h"
#include "model/torch/layers/scope.h"

namespace lfm2 {
namespace {

int Narrow(int64_t value) { return static_cast<int>(value); }

class CudaModelMaker {
 public:
  CudaModelMaker(const Decoder& decoder, Weights& weights, const CudaPools& pools)
      : decoder_(decoder), weights_(weights), pools_(pools) {}

  CudaModel Make();
  std::vector<at::Tensor>& kept() { return kept_; }

 private:
  CudaBranch MakeBranch(const Branch& branch, int64_t layer);
  CudaAttention MakeAttention(const Scope& scope, int64_t layer);
  CudaShortConv MakeShortConv(const Scope& scope, int64_t layer);
  CudaSsmBlock MakeSsm(const Scope& scope, int64_t layer);
  CudaGatedMlp MakeMlp(const Scope& scope);
  CudaLinear MakeLinear(const Scope& scope, Role role) const;
  CudaLinear Packed(const Scope& scope, const std::vector<Role>& roles);
  const at::Tensor& Keep(at::Tensor tensor);

  const Decoder& decoder_;
  Weights& weights_;
  const CudaPools& pools_;
  std::vector<at::Tensor> kept_;
};

const at::Tensor& CudaModelMaker::Keep(at::Tensor tensor) {
  return kept_.emplace_back(std::move(tensor));
}

CudaModel CudaModelMaker::Make() {
  const ModelConfig& config = decoder_.config();
  CudaModel out;
  out.dtype = CudaDtype(weights_.dtype());
  out.vocab = Narrow(config.vocab_size);
  out.width = Narrow(config.hidden_size);
  out.taps = Narrow(config.conv_kernel);
  out.ssm_states = Narrow(config.ssm_state_size);
  out.eps = static_cast<float>(config.norm_eps);
  if (pools_.blocks > 0) {
    out.heads = Narrow(config.num_attention_heads);
    out.kv_heads = Narrow(config.num_key_value_heads);
    out.head_dim = Narrow(config.head_dim);
    out.frequencies = DataOf<float>(
        Keep(RopeFrequencies(config.head_dim, config.rope_theta, weights_.device()).contiguous()));
  }
  out.embedding = Keep(weights_[config.Weight(Role::kEmbedding)].contiguous()).const_data_ptr();
  out.head = Keep(decoder_.Head().contiguous()).const_data_ptr();
  out.final_norm = Keep(weights_[config.Weight(Role::kFinalNorm)].contiguous()).const_data_ptr();
  const std::vector<Layer> layers = config.Layers();
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (const Stage& stage : layers[layer]) {
      CudaStage& to = out.stages.emplace_back();
      to.norm = Keep(weights_[config.Weight(stage.norm, static_cast<int64_t>(layer))].contiguous())
                    .const_data_ptr();
      for (const Branch& branch : stage.branches) {
        to.branches.push_back(MakeBranch(branch, static_cast<int64_t>(layer)));
      }
    }
  }
  return out;
}

CudaBranch CudaModelMaker::MakeBranch(const Branch& branch, int64_t layer) {
  const Scope scope(weights_, nullptr, decoder_.config().names(), layer);
  switch (branch.kind) {
    case BlockKind::kAttention:
      return MakeAttention(scope, layer);
    case BlockKind::kShortConv:
      return MakeShortConv(scope, layer);
    case BlockKind::kDiagonalSsm:
      return MakeSsm(scope, layer);
    case BlockKind::kGatedMlp:
      return MakeMlp(scope);
  }
  TORCH_CHECK(false, "layer ", layer, " has an unknown kind of block");
}

CudaLinear CudaModelMaker::MakeLinear(const Scope& scope, Role role) const {
  const at::Tensor& weight = scope[role];
  const at::Tensor bias = scope.Bias(role);
  TORCH_CHECK(weight.is_contiguous() && (!bias.defined() || bias.is_contiguous()),
              StemOf(decoder_.config().names(), role), " is not contiguous");
  return {weight.const_data_ptr(), bias.defined() ? bias.const_data_ptr() : nullptr,
          Narrow(weight.size(1)), Narrow(weight.size(0))};
}

// Packs several matrices into one and makes the weights views of it, so that nothing is stored
// twice.
CudaLinear CudaModelMaker::Packed(const Scope& scope, const std::vector<Role>& roles) {
  std::vector<at::Tensor> parts;
  for (const Role role : roles) {
    TORCH_CHECK(!scope.Bias(role).defined(), StemOf(decoder_.config().names(), role),
                " has a bias");
    parts.push_back(scope[role]);
  }
  const at::Tensor& packed = Keep(at::cat(parts));
  int64_t row = 0;
  for (const at::Tensor& part : parts) {
    for (auto& [name, tensor] : weights_.mutable_tensors()) {
      if (tensor.is_same(part)) tensor = packed.narrow(0, row, part.size(0));
    }
    row += part.size(0);
  }
  return {packed.const_data_ptr(), nullptr, Narrow(packed.size(1)), Narrow(packed.size(0))};
}

CudaAttention CudaModelMaker::MakeAttention(const Scope& scope, int64_t layer) {
  CudaAttention out;
  out.qkv = Packed(scope, {Role::kQuery, Role::kKey, Role::kValue});
  out.out = MakeLinear(scope, Role::kAttentionOut);
  if (decoder_.config().qk_norm) {
    out.q_norm = Keep(scope[Role::kQueryNorm].contiguous()).const_data_ptr();
    out.k_norm = Keep(scope[Role::kKeyNorm].contiguous()).const_data_ptr();
  }
  const at::Tensor& pool = pools_.kv[static_cast<size_t>(layer)];
  out.keys = pool[0].mutable_data_ptr();
  out.values = pool[1].mutable_data_ptr();
  return out;
}

CudaShortConv CudaModelMaker::MakeShortConv(const Scope& scope, int64_t layer) {
  CudaShortConv out;
  out.in = MakeLinear(scope, Role::kConvIn);
  out.out = MakeLinear(scope, Role::kConvOut);
  out.weight = Keep(scope[Role::kConv].contiguous()).const_data_ptr();  // [d, 1, L]
  const at::Tensor bias = scope.Bias(Role::kConv);
  if (bias.defined()) out.bias = Keep(bias.contiguous()).const_data_ptr();
  out.states = pools_.conv[static_cast<size_t>(layer)].mutable_data_ptr();
  return out;
}

CudaSsmBlock CudaModelMaker::MakeSsm(const Scope& scope, int64_t layer) {
  const SsmParameters ssm =
      DiscretizeSsm(scope[Role::kSsmALog], scope[Role::kSsmB], scope[Role::kSsmC],
                    scope[Role::kSsmD], scope[Role::kSsmLogDt]);
  const auto by_state = [&](const at::Tensor& tensor) {  // [d, N] to [N, d]
    return DataOf<float>(Keep(tensor.t().contiguous()));
  };
  CudaSsmBlock out;
  out.in = MakeLinear(scope, Role::kSsmIn);
  out.out = MakeLinear(scope, Role::kSsmOut);
  out.decay = by_state(at::exp(ssm.log_decay));
  out.input = by_state(ssm.dB);
  out.output = by_state(ssm.C);
  out.skip = DataOf<float>(Keep(ssm.D.contiguous()));
  out.states = static_cast<float*>(pools_.ssm[static_cast<size_t>(layer)].mutable_data_ptr());
  return out;
}

CudaGatedMlp CudaModelMaker::MakeMlp(const Scope& scope) {
  return {Packed(scope, {Role::kGate, Role::kUp}), MakeLinear(scope, Role::kDown)};
}

}  // namespace

int CudaDtype(at::ScalarType type) {
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16,
              "decoding on a GPU supports only float32 and bfloat16");
  return type == at::kBFloat16 ? kLfm2CudaBf16 : kLfm2CudaF32;
}

CudaModelParts MakeCudaModel(const Decoder& decoder, Weights& weights, const CudaPools& pools) {
  CudaModelMaker maker(decoder, weights, pools);
  CudaModel model = maker.Make();
  return {std::move(model), std::move(maker.kept())};
}

}  // namespace lfm2
