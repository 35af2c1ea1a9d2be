// The hybrid: a diagonal SSM and a gated feed-forward in every layer, one after the other or in
// parallel, with attention before them in some layers. Source: shared design notes "The models,
// exactly" 2. No other program has this architecture, so the names for GGUF are our own.
#include <initializer_list>
#include <string>

#include "base/limits.h"
#include "model/arch/arch_spec.h"
#include "model/arch/config_reader.h"

namespace lfm2 {
namespace {

constexpr char kAttends[] = "attention_ssm", kOther[] = "ssm";
constexpr double kRopeTheta = 1e4;

constexpr TensorName kTensors[] = {
    {Role::kEmbedding, "model.embed_tokens", "token_embd"},
    {Role::kFinalNorm, "model.norm", "output_norm"},
    {Role::kHead, "lm_head", "output"},
    {Role::kMixerNorm, "attention_norm", "attn_norm"},
    {Role::kSsmNorm, "ssm_norm", "ssm_norm"},
    {Role::kFeedForwardNorm, "ffn_norm", "ffn_norm"},
    {Role::kQuery, "self_attn.q_proj", "attn_q"},
    {Role::kKey, "self_attn.k_proj", "attn_k"},
    {Role::kValue, "self_attn.v_proj", "attn_v"},
    {Role::kAttentionOut, "self_attn.o_proj", "attn_output"},
    {Role::kSsmIn, "ssm.in_proj", "ssm_in"},
    {Role::kSsmALog, "ssm.A_log", "ssm_a_log"},
    {Role::kSsmB, "ssm.B", "ssm_b"},
    {Role::kSsmC, "ssm.C", "ssm_c"},
    {Role::kSsmD, "ssm.D", "ssm_d"},
    {Role::kSsmLogDt, "ssm.log_dt", "ssm_log_dt"},
    {Role::kSsmOut, "ssm.out_proj", "ssm_out"},
    {Role::kGate, "mlp.gate_proj", "ffn_gate"},
    {Role::kUp, "mlp.up_proj", "ffn_up"},
    {Role::kDown, "mlp.down_proj", "ffn_down"},
};

Layer LayerAt(const ModelConfig& config, int64_t index) {
  const Branch ssm = {BlockKind::kDiagonalSsm, "ssm"};
  const Branch mlp = {BlockKind::kGatedMlp, "mlp"};
  Layer layer;
  if (config.attention_layers[static_cast<size_t>(index)]) {
    layer.push_back({Role::kMixerNorm, {{BlockKind::kAttention, "self_attn"}}});
  }
  if (config.parallel_residual) {
    layer.push_back({Role::kSsmNorm, {ssm, mlp}});
  } else {
    layer.push_back({Role::kSsmNorm, {ssm}});
    layer.push_back({Role::kFeedForwardNorm, {mlp}});
  }
  return layer;
}

void ReadLayers(ConfigReader& keys, ModelConfig& config) {
  const int64_t layers = ReadLayerCount(keys);
  const auto types = ReadLayerTypes(keys, layers, kAttends, kOther);
  const auto every = keys.OptionalInt({"attn_every"}, {0, kDefaultLimits.layers});
  const auto compiled = AttentionEvery(layers, every.value_or(0));
  if (!types && !every) keys.violations().Add("attn_every", "is missing, and so is layer_types");
  if (types && every && *types != compiled) {
    keys.violations().Add("attn_every",
                          "is " + std::to_string(*every) + ", which contradicts layer_types");
  }
  config.attention_layers = types ? *types : compiled;
}

void Read(ConfigReader& keys, ModelConfig& config) {
  ReadCommon(keys, config);
  config.norm_eps = keys.PositiveNumber({"norm_eps", "block_norm_eps"}, config.norm_eps);
  config.tie_word_embeddings = keys.Bool({"tie_word_embeddings", "tie_embedding"}, true);
  ReadLayers(keys, config);
  config.intermediate_size = keys.RequiredInt({"intermediate_size"}, {1, kMaxIntermediate});
  config.ssm_state_size = keys.RequiredInt({"ssm_state_size"}, {1, kMaxSsmState});
  config.parallel_residual = keys.Bool({"parallel_residual"}, false);
  config.rope_theta = ReadRopeTheta(keys, kRopeTheta);
  config.max_position_embeddings = ReadPositions(keys, 0);
}

void Write(const ModelConfig& config, Json& out) {
  out["ssm_state_size"] = config.ssm_state_size;
  out["parallel_residual"] = config.parallel_residual;
  for (int64_t every = 0; every <= config.num_layers(); ++every) {
    if (AttentionEvery(config.num_layers(), every) == config.attention_layers) {
      out["attn_every"] = every;
      return;
    }
  }
}

// The source's norm before the mixer is used for both of our norms.
Role ConvertedFrom(Role role) { return role == Role::kSsmNorm ? Role::kMixerNorm : role; }

}  // namespace

extern constinit const ArchSpec kHybridArch;
constinit const ArchSpec kHybridArch = {
    .id = Architecture::kHybrid,
    .name = "hybrid",
    .model_type = "lfm2_ssm_hybrid",
    .hf_class = nullptr,
    .gguf = nullptr,
    .tensors = kTensors,
    .mark = Role::kSsmALog,
    .eps_key = "norm_eps",
    .attends_word = kAttends,
    .other_word = kOther,
    .has_conv = false,
    .has_ssm = true,
    .has_parallel = true,
    .chooses_attention = true,
    .attn_every = 2,
    .rope_theta = kRopeTheta,
    .qk_norm = false,
    .gguf_pairs_rows = false,
    .converted_from = ConvertedFrom,
    .layer = LayerAt,
    .read = Read,
    .write = Write,
    .read_gguf = nullptr,
};

}  // namespace lfm2
