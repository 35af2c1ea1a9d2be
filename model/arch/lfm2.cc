// LFM2: every layer has a gated short convolution or attention, and a SwiGLU feed-forward. Sources:
// transformers' Lfm2Config and modeling_lfm2; llama.cpp's LFM2 model and converter.
#include <initializer_list>
#include <string>
#include <utility>

#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/arch/arch_spec.h"
#include "model/arch/config_reader.h"
#include "model/arch/gguf_keys.h"

namespace lfm2 {
namespace {

constexpr char kAttends[] = "full_attention", kOther[] = "conv";
constexpr int64_t kPositions = 128'000;  // transformers' default
constexpr double kRopeTheta = 1e6;       // transformers' default

// In spite of its name, token_embd_norm is the final norm.
constexpr TensorName kTensors[] = {
    {Role::kEmbedding, "model.embed_tokens", "token_embd", "tok_embeddings"},
    {Role::kFinalNorm, "model.embedding_norm", "token_embd_norm", "output_norm"},
    {Role::kHead, "lm_head", "output"},
    {Role::kMixerNorm, "operator_norm", "attn_norm", "attention_norm"},
    {Role::kFeedForwardNorm, "ffn_norm", "ffn_norm"},
    {Role::kQuery, "self_attn.q_proj", "attn_q"},
    {Role::kKey, "self_attn.k_proj", "attn_k"},
    {Role::kValue, "self_attn.v_proj", "attn_v"},
    {Role::kAttentionOut, "self_attn.out_proj", "attn_output", "attn_o"},
    {Role::kQueryNorm, "self_attn.q_layernorm", "attn_q_norm"},
    {Role::kKeyNorm, "self_attn.k_layernorm", "attn_k_norm"},
    {Role::kConvIn, "conv.in_proj", "shortconv.in_proj"},
    {Role::kConv, "conv.conv", "shortconv.conv"},
    {Role::kConvOut, "conv.out_proj", "shortconv.out_proj"},
    {Role::kGate, "feed_forward.w1", "ffn_gate"},
    {Role::kUp, "feed_forward.w3", "ffn_up"},
    {Role::kDown, "feed_forward.w2", "ffn_down"},
};

Layer LayerAt(const ModelConfig& config, int64_t index) {
  const Branch mixer = config.attention_layers[static_cast<size_t>(index)]
                           ? Branch{BlockKind::kAttention, "self_attn"}
                           : Branch{BlockKind::kShortConv, "conv"};
  return {{Role::kMixerNorm, {mixer}},
          {Role::kFeedForwardNorm, {{BlockKind::kGatedMlp, "feed_forward"}}}};
}

std::optional<std::vector<bool>> ReadAttentionIndices(ConfigReader& keys, int64_t layers) {
  const Json* indices = keys.Find({"full_attn_idxs"});
  if (indices == nullptr) return std::nullopt;
  std::vector<bool> out(static_cast<size_t>(layers), false);
  if (!indices->is_array()) {
    keys.Wrong({"full_attn_idxs"}, *indices, "a list of layer numbers");
    return out;
  }
  for (const Json& entry : *indices) {
    Json one = {{"full_attn_idxs", entry}};
    ConfigReader reader(one, keys.violations());
    out[static_cast<size_t>(reader.OptionalInt({"full_attn_idxs"}, {0, layers - 1}).value_or(0))] =
        true;
  }
  return out;
}

void ReadLayers(ConfigReader& keys, int64_t layers, ModelConfig& config) {
  const auto types = ReadLayerTypes(keys, layers, kAttends, kOther);
  const auto indices = ReadAttentionIndices(keys, layers);
  if (types && indices && *types != *indices) {
    keys.violations().Add("full_attn_idxs", "contradicts layer_types");
  }
  // As in transformers: if both keys are absent, every layer has attention.
  const std::vector<bool> all(static_cast<size_t>(layers), true);
  config.attention_layers = types ? *types : indices.value_or(all);
}

// As in transformers' Lfm2MLP: int(2 * ff / 3), times the multiplier, rounded up to a multiple.
void ReadWidth(ConfigReader& keys, ModelConfig& config) {
  const int64_t configured =
      keys.RequiredInt({"intermediate_size", "block_ff_dim"}, {1, kMaxIntermediate});
  config.intermediate_size = configured;
  const bool adjust = keys.Bool({"block_auto_adjust_ff_dim"}, true);
  const int64_t multiple =
      keys.OptionalInt({"block_multiple_of"}, {1, kMaxIntermediate}).value_or(256);
  const auto written = keys.object().find("block_ffn_dim_multiplier");
  const bool null_multiplier = written != keys.object().end() && written->is_null();
  const double multiplier = keys.PositiveNumber({"block_ffn_dim_multiplier"}, 1.0);
  if (!adjust) return;
  int64_t width = 2 * configured / 3;
  if (!null_multiplier) {
    const double scaled = multiplier * static_cast<double>(width);
    width = scaled < static_cast<double>(kMaxIntermediate) ? static_cast<int64_t>(scaled)
                                                           : kMaxIntermediate + 1;
    width = (width + multiple - 1) / multiple * multiple;
  }
  if (width < 1 || width > kMaxIntermediate) {
    keys.violations().Add("intermediate_size", "is " + std::to_string(configured) +
                                                   ", which block_auto_adjust_ff_dim's formula "
                                                   "changes to a width outside 1 to " +
                                                   std::to_string(kMaxIntermediate));
  }
  config.intermediate_size = width;
  config.formula_intermediate_size = width;
  config.configured_intermediate_size = configured;
}

void Read(ConfigReader& keys, ModelConfig& config) {
  ReadCommon(keys, config);
  config.norm_eps = keys.PositiveNumber({"norm_eps", "block_norm_eps"}, config.norm_eps);
  config.tie_word_embeddings = keys.Bool({"tie_word_embeddings", "tie_embedding"}, true);
  ReadLayers(keys, ReadLayerCount(keys), config);
  ReadWidth(keys, config);
  config.rope_theta = ReadRopeTheta(keys, kRopeTheta);
  config.conv_kernel = keys.OptionalInt({"conv_L_cache"}, {1, kMaxConvKernel}).value_or(3);
  config.conv_bias = keys.Bool({"conv_bias"}, false);
  config.max_position_embeddings = ReadPositions(keys, kPositions);
}

void Write(const ModelConfig& config, Json& out) {
  PutRopeParameters(config, out);
  out["block_auto_adjust_ff_dim"] = false;
  out["block_ffn_dim_multiplier"] = 1.0;
  out["block_multiple_of"] = 256;
  out["conv_L_cache"] = config.conv_kernel;
  out["conv_bias"] = config.conv_bias;
  out["initializer_range"] = 0.02;
  out["use_cache"] = true;
}

// In some files feed_forward_length is the width before the adjustment; then the formula must give
// the width of the weights.
void PutWidth(GgufKeys& keys) {
  const TensorView* gate = keys.Tensor({Role::kGate, 0});
  Json& config = keys.config();
  config["block_auto_adjust_ff_dim"] = gate != nullptr && !gate->shape.empty() &&
                                       config.contains("intermediate_size") &&
                                       config["intermediate_size"] != gate->shape[0];
}

// head_count_kv has one entry per layer; 0 marks a conv layer.
absl::Status PutLayers(GgufKeys& keys) {
  const std::string key = keys.Key("attention.head_count_kv");
  const Json* list = keys.Find(key);
  if (list == nullptr || !list->is_array() ||
      static_cast<int64_t>(list->size()) > kDefaultLimits.layers) {
    return Error(Reason::kConfigInvalid, key + " is not a list with one entry per layer");
  }
  Json types = Json::array();
  Json heads;
  for (const Json& entry : *list) {
    if (entry == 0) {
      types.push_back(kOther);
      continue;
    }
    if (!heads.is_null() && heads != entry) {
      return Error(Reason::kConfigInvalid, key + " differs between attention layers");
    }
    heads = entry;
    types.push_back(kAttends);
  }
  keys.config()["layer_types"] = std::move(types);
  if (!heads.is_null()) keys.config()["num_key_value_heads"] = heads;
  return absl::OkStatus();
}

absl::Status ReadGguf(GgufKeys& keys) {
  keys.CopyCommon();
  keys.Copy("shortconv.l_cache", "conv_L_cache");
  PutWidth(keys);
  return PutLayers(keys);
}

}  // namespace

extern constinit const ArchSpec kLfm2Arch;
constinit const ArchSpec kLfm2Arch = {
    .id = Architecture::kLfm2,
    .name = "lfm2",
    .model_type = "lfm2",
    .hf_class = "Lfm2ForCausalLM",
    .gguf = "lfm2",
    .tensors = kTensors,
    .mark = Role::kMixerNorm,
    .eps_key = "norm_eps",
    .attends_word = kAttends,
    .other_word = kOther,
    .has_conv = true,
    .has_ssm = false,
    .has_parallel = false,
    .chooses_attention = true,
    .attn_every = 2,
    .rope_theta = kRopeTheta,
    .qk_norm = true,
    .gguf_pairs_rows = false,
    .converted_from = nullptr,
    .layer = LayerAt,
    .read = Read,
    .write = Write,
    .read_gguf = ReadGguf,
};

}  // namespace lfm2
