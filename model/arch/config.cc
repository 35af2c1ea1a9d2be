#include "model/arch/config.h"

#include <algorithm>
#include <initializer_list>

#include "base/json.h"
#include "model/arch/registry.h"

namespace lfm2 {
namespace {

using Specs = std::vector<TensorSpec>;

// Appends the tensors of one layer, or those outside the layers.
class SpecList {
 public:
  SpecList(const ModelConfig& config, int64_t layer, Specs& out)
      : config_(config), names_(config.names()), layer_(layer), out_(out) {}

  void Add(Role role, std::initializer_list<int64_t> shape, bool bias = false) {
    const TensorId id{role, layer_, bias};
    out_.push_back({NameOf(names_, id), shape, id});
  }

  // Adds a weight [rows, cols], and a bias [rows] if the block has biases.
  void AddLinear(Role role, int64_t rows, int64_t cols, bool bias) {
    Add(role, {rows, cols});
    if (bias) Add(role, {rows}, /*bias=*/true);
  }

  void AddBlock(BlockKind kind) {
    switch (kind) {
      case BlockKind::kAttention:
        return AddAttention();
      case BlockKind::kShortConv:
        return AddShortConv();
      case BlockKind::kDiagonalSsm:
        return AddDiagonalSsm();
      case BlockKind::kGatedMlp:
        return AddGatedMlp();
    }
  }

 private:
  void AddAttention() {
    const int64_t d = config_.hidden_size, head_dim = config_.head_dim;
    const int64_t query = config_.num_attention_heads * head_dim;
    const int64_t key = config_.num_key_value_heads * head_dim;
    Add(Role::kQuery, {query, d});
    Add(Role::kKey, {key, d});
    Add(Role::kValue, {key, d});
    Add(Role::kAttentionOut, {d, query});
    if (!config_.qk_norm) return;
    Add(Role::kQueryNorm, {head_dim});
    Add(Role::kKeyNorm, {head_dim});
  }

  void AddShortConv() {
    const int64_t d = config_.hidden_size;
    AddLinear(Role::kConvIn, 3 * d, d, config_.conv_bias);
    Add(Role::kConv, {d, 1, config_.conv_kernel});
    if (config_.conv_bias) Add(Role::kConv, {d}, /*bias=*/true);
    AddLinear(Role::kConvOut, d, d, config_.conv_bias);
  }

  void AddDiagonalSsm() {
    const int64_t d = config_.hidden_size, n = config_.ssm_state_size;
    Add(Role::kSsmIn, {2 * d, d});
    Add(Role::kSsmALog, {d, n});
    Add(Role::kSsmB, {d, n});
    Add(Role::kSsmC, {d, n});
    Add(Role::kSsmD, {d});
    Add(Role::kSsmLogDt, {d});
    Add(Role::kSsmOut, {d, d});
  }

  void AddGatedMlp() {
    Add(Role::kGate, {config_.intermediate_size, config_.hidden_size});
    Add(Role::kUp, {config_.intermediate_size, config_.hidden_size});
    Add(Role::kDown, {config_.hidden_size, config_.intermediate_size});
  }

  const ModelConfig& config_;
  const TensorNames names_;
  const int64_t layer_;
  Specs& out_;
};

Json LayerTypes(const ArchSpec& spec, const ModelConfig& config) {
  Json types = Json::array();
  for (bool attends : config.attention_layers) {
    types.push_back(attends ? spec.attends_word : spec.other_word);
  }
  return types;
}

Json IdOrNull(const std::optional<int32_t>& id) { return id ? Json(*id) : Json(nullptr); }

void PutTokenIds(const ModelConfig& config, Json& out) {
  out["bos_token_id"] = IdOrNull(config.bos_token_id);
  out["eos_token_id"] =
      config.eos_token_ids.size() > 1 ? Json(config.eos_token_ids) : IdOrNull(config.eos_token_id);
  out["pad_token_id"] = IdOrNull(config.pad_token_id);
}

void PutSizes(const ArchSpec& spec, const ModelConfig& config, Json& out) {
  out["vocab_size"] = config.vocab_size;
  out["hidden_size"] = config.hidden_size;
  out["intermediate_size"] = config.intermediate_size;
  out["num_hidden_layers"] = config.num_layers();
  out["num_attention_heads"] = config.num_attention_heads;
  out["num_key_value_heads"] = config.num_key_value_heads;
  if (config.head_dim * config.num_attention_heads != config.hidden_size) {
    out["head_dim"] = config.head_dim;
  }
  if (config.max_position_embeddings > 0) {
    out["max_position_embeddings"] = config.max_position_embeddings;
  }
  out[spec.eps_key] = config.norm_eps;
  out["rope_theta"] = config.rope_theta;
  out["tie_word_embeddings"] = config.tie_word_embeddings;
  if (spec.attends_word != nullptr) out["layer_types"] = LayerTypes(spec, config);
}

}  // namespace

TensorNames ModelConfig::names() const { return SpecOf(*this).tensors; }

std::vector<Layer> ModelConfig::Layers() const {
  const ArchSpec& spec = SpecOf(*this);
  std::vector<Layer> layers;
  layers.reserve(attention_layers.size());
  for (int64_t index = 0; index < num_layers(); ++index) {
    layers.push_back(spec.layer(*this, index));
  }
  return layers;
}

std::vector<TensorSpec> ModelConfig::TensorSpecs() const {
  Specs specs;
  SpecList model(*this, /*layer=*/-1, specs);
  model.Add(Role::kEmbedding, {vocab_size, hidden_size});
  int64_t index = 0;
  for (const Layer& layer : Layers()) {
    SpecList list(*this, index++, specs);
    for (const Stage& stage : layer) {
      list.Add(stage.norm, {hidden_size});
      for (const Branch& branch : stage.branches) list.AddBlock(branch.kind);
    }
  }
  model.Add(Role::kFinalNorm, {hidden_size});
  if (!tie_word_embeddings) model.Add(Role::kHead, {vocab_size, hidden_size});
  return specs;
}

int64_t ModelConfig::ParameterCount() const {
  int64_t total = 0;
  for (const TensorSpec& spec : TensorSpecs()) {
    int64_t elements = 1;
    for (int64_t dimension : spec.shape) elements *= dimension;
    total += elements;
  }
  return total;
}

std::string ModelConfigToJson(const ModelConfig& config) {
  const ArchSpec& spec = SpecOf(config);
  Json out;
  if (spec.hf_class != nullptr) out["architectures"] = {spec.hf_class};
  out["model_type"] = spec.model_type;
  PutSizes(spec, config, out);
  PutTokenIds(config, out);
  spec.write(config, out);
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<bool> AttentionEvery(int64_t num_layers, int64_t attn_every) {
  std::vector<bool> attends(static_cast<size_t>(std::max<int64_t>(num_layers, 0)), false);
  for (int64_t i = 0; i < num_layers; ++i) {
    attends[static_cast<size_t>(i)] = attn_every > 0 && (i + 1) % attn_every == 0;
  }
  return attends;
}

}  // namespace lfm2
