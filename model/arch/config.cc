#include "model/arch/config.h"

#include <algorithm>

#include "base/json.h"

namespace lfm2 {
namespace {

using Specs = std::vector<TensorSpec>;

// What an architecture calls its parts.
struct Names {
  Architecture architecture;
  const char* name;
  const char* model_type;
  const char* hf_class;  // null: transformers has none
  const char* final_norm;
  const char* out_proj;
  const char* gate;
  const char* up;
  const char* down;
  const char* eps;
  const char* attends;  // in layer_types; null: every layer attends, and there is no such list
  const char* other;
};

constexpr Names kNames[kArchitectures] = {
    {Architecture::kLfm2, "lfm2", "lfm2", "Lfm2ForCausalLM", "model.embedding_norm", "out_proj",
     "w1", "w3", "w2", "norm_eps", "full_attention", "conv"},
    {Architecture::kHybrid, "hybrid", "lfm2_ssm_hybrid", nullptr, "model.norm", "o_proj",
     "gate_proj", "up_proj", "down_proj", "norm_eps", "attention_ssm", "ssm"},
    {Architecture::kLlama, "llama", "llama", "LlamaForCausalLM", "model.norm", "o_proj",
     "gate_proj", "up_proj", "down_proj", "rms_norm_eps", nullptr, nullptr},
};
static_assert(kNames[static_cast<int>(Architecture::kLlama)].architecture == Architecture::kLlama);

const Names& NamesOf(const ModelConfig& config) {
  return kNames[static_cast<size_t>(config.architecture)];
}

void AppendAttention(const ModelConfig& config, const std::string& prefix, Specs& specs) {
  const int64_t query = config.num_attention_heads * config.head_dim;
  const int64_t key = config.num_key_value_heads * config.head_dim;
  specs.push_back({prefix + "q_proj.weight", {query, config.hidden_size}});
  specs.push_back({prefix + "k_proj.weight", {key, config.hidden_size}});
  specs.push_back({prefix + "v_proj.weight", {key, config.hidden_size}});
  specs.push_back(
      {prefix + std::string(config.attention_out_proj()) + ".weight", {config.hidden_size, query}});
  if (config.qk_norm) {
    specs.push_back({prefix + "q_layernorm.weight", {config.head_dim}});
    specs.push_back({prefix + "k_layernorm.weight", {config.head_dim}});
  }
}

void AppendShortConv(const ModelConfig& config, const std::string& prefix, Specs& specs) {
  const int64_t d = config.hidden_size;
  specs.push_back({prefix + "in_proj.weight", {3 * d, d}});
  if (config.conv_bias) specs.push_back({prefix + "in_proj.bias", {3 * d}});
  specs.push_back({prefix + "conv.weight", {d, 1, config.conv_kernel}});
  if (config.conv_bias) specs.push_back({prefix + "conv.bias", {d}});
  specs.push_back({prefix + "out_proj.weight", {d, d}});
  if (config.conv_bias) specs.push_back({prefix + "out_proj.bias", {d}});
}

void AppendDiagonalSsm(const ModelConfig& config, const std::string& prefix, Specs& specs) {
  const int64_t d = config.hidden_size;
  const int64_t n = config.ssm_state_size;
  specs.push_back({prefix + "in_proj.weight", {2 * d, d}});
  specs.push_back({prefix + "A_log", {d, n}});
  specs.push_back({prefix + "B", {d, n}});
  specs.push_back({prefix + "C", {d, n}});
  specs.push_back({prefix + "D", {d}});
  specs.push_back({prefix + "log_dt", {d}});
  specs.push_back({prefix + "out_proj.weight", {d, d}});
}

void AppendGatedMlp(const ModelConfig& config, const std::string& prefix, Specs& specs) {
  const Names& names = NamesOf(config);
  const std::vector<int64_t> wide = {config.intermediate_size, config.hidden_size};
  const std::vector<int64_t> narrow = {config.hidden_size, config.intermediate_size};
  specs.push_back({prefix + names.gate + ".weight", wide});
  specs.push_back({prefix + names.up + ".weight", wide});
  specs.push_back({prefix + names.down + ".weight", narrow});
}

void AppendBranch(const ModelConfig& config, const Branch& branch, const std::string& layer,
                  Specs& specs) {
  const std::string prefix = layer + branch.prefix + ".";
  switch (branch.kind) {
    case BlockKind::kAttention:
      return AppendAttention(config, prefix, specs);
    case BlockKind::kShortConv:
      return AppendShortConv(config, prefix, specs);
    case BlockKind::kDiagonalSsm:
      return AppendDiagonalSsm(config, prefix, specs);
    case BlockKind::kGatedMlp:
      return AppendGatedMlp(config, prefix, specs);
  }
}

Layer Lfm2Layer(bool attends) {
  const Branch mixer =
      attends ? Branch{BlockKind::kAttention, "self_attn"} : Branch{BlockKind::kShortConv, "conv"};
  return {{"operator_norm", {mixer}}, {"ffn_norm", {{BlockKind::kGatedMlp, "feed_forward"}}}};
}

Layer HybridLayer(bool attends, bool parallel) {
  const Branch ssm = {BlockKind::kDiagonalSsm, "ssm"};
  const Branch mlp = {BlockKind::kGatedMlp, "mlp"};
  Layer layer;
  if (attends) layer.push_back({"attention_norm", {{BlockKind::kAttention, "self_attn"}}});
  if (parallel) {
    layer.push_back({"ssm_norm", {ssm, mlp}});
  } else {
    layer.push_back({"ssm_norm", {ssm}});
    layer.push_back({"ffn_norm", {mlp}});
  }
  return layer;
}

Layer LlamaLayer() {
  return {{"input_layernorm", {{BlockKind::kAttention, "self_attn"}}},
          {"post_attention_layernorm", {{BlockKind::kGatedMlp, "mlp"}}}};
}

Layer LayerOf(const ModelConfig& config, bool attends) {
  switch (config.architecture) {
    case Architecture::kLfm2:
      return Lfm2Layer(attends);
    case Architecture::kHybrid:
      return HybridLayer(attends, config.parallel_residual);
    case Architecture::kLlama:
      return LlamaLayer();
  }
  return {};
}

Json LayerTypes(const ModelConfig& config) {
  const Names& names = NamesOf(config);
  Json types = Json::array();
  for (bool attends : config.attention_layers) {
    types.push_back(attends ? names.attends : names.other);
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

void PutSizes(const ModelConfig& config, Json& out) {
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
  out[NamesOf(config).eps] = config.norm_eps;
  out["rope_theta"] = config.rope_theta;
  out["tie_word_embeddings"] = config.tie_word_embeddings;
  if (NamesOf(config).attends != nullptr) out["layer_types"] = LayerTypes(config);
}

// transformers 5 reads the base from here.
void PutRope(const ModelConfig& config, Json& out) {
  out["rope_parameters"] = {{"rope_theta", config.rope_theta}, {"rope_type", "default"}};
}

void PutLfm2Keys(const ModelConfig& config, Json& out) {
  PutRope(config, out);
  out["block_auto_adjust_ff_dim"] = false;
  out["block_ffn_dim_multiplier"] = 1.0;
  out["block_multiple_of"] = 256;
  out["conv_L_cache"] = config.conv_kernel;
  out["conv_bias"] = config.conv_bias;
  out["initializer_range"] = 0.02;
  out["use_cache"] = true;
}

void PutLlamaKeys(const ModelConfig& config, Json& out) {
  PutRope(config, out);
  out["hidden_act"] = "silu";
  out["attention_bias"] = false;
  out["mlp_bias"] = false;
  out["initializer_range"] = 0.02;
  out["use_cache"] = true;
}

void PutHybridKeys(const ModelConfig& config, Json& out) {
  out["ssm_state_size"] = config.ssm_state_size;
  out["parallel_residual"] = config.parallel_residual;
  for (int64_t every = 0; every <= config.num_layers(); ++every) {
    if (AttentionEvery(config.num_layers(), every) == config.attention_layers) {
      out["attn_every"] = every;
      return;
    }
  }
}

}  // namespace

const char* NameOf(Architecture architecture) {
  return kNames[static_cast<size_t>(architecture)].name;
}

std::optional<Architecture> ArchitectureByName(std::string_view name) {
  for (const Names& names : kNames) {
    if (name == names.name) return names.architecture;
  }
  return std::nullopt;
}

std::vector<Layer> ModelConfig::Layers() const {
  std::vector<Layer> layers;
  layers.reserve(attention_layers.size());
  for (bool attends : attention_layers) {
    layers.push_back(LayerOf(*this, attends));
  }
  return layers;
}

std::string_view ModelConfig::final_norm() const { return NamesOf(*this).final_norm; }

std::string_view ModelConfig::attention_out_proj() const { return NamesOf(*this).out_proj; }

std::vector<TensorSpec> ModelConfig::TensorSpecs() const {
  Specs specs = {{"model.embed_tokens.weight", {vocab_size, hidden_size}}};
  int64_t index = 0;
  for (const Layer& layer : Layers()) {
    const std::string prefix = "model.layers." + std::to_string(index++) + ".";
    for (const Stage& stage : layer) {
      specs.push_back({prefix + stage.norm + ".weight", {hidden_size}});
      for (const Branch& branch : stage.branches) AppendBranch(*this, branch, prefix, specs);
    }
  }
  specs.push_back({std::string(final_norm()) + ".weight", {hidden_size}});
  if (!tie_word_embeddings) specs.push_back({"lm_head.weight", {vocab_size, hidden_size}});
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
  const Names& names = NamesOf(config);
  Json out;
  if (names.hf_class != nullptr) out["architectures"] = {names.hf_class};
  out["model_type"] = names.model_type;
  PutSizes(config, out);
  PutTokenIds(config, out);
  switch (config.architecture) {
    case Architecture::kLfm2:
      PutLfm2Keys(config, out);
      break;
    case Architecture::kHybrid:
      PutHybridKeys(config, out);
      break;
    case Architecture::kLlama:
      PutLlamaKeys(config, out);
      break;
  }
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
