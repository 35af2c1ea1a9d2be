// Llama: attention and a gated feed-forward in every layer (Touvron et al. 2023). Sources:
// transformers' LlamaConfig and modeling_llama; llama.cpp's llama model and converter.
#include <cstdint>
#include <initializer_list>

#include "base/status_macros.h"
#include "model/arch/arch_spec.h"
#include "model/arch/config_reader.h"
#include "model/arch/gguf_keys.h"

namespace lfm2 {
namespace {

// transformers' defaults
constexpr int64_t kPositions = 2048;
constexpr double kRopeTheta = 1e4;
constexpr double kNormEps = 1e-6;

constexpr TensorName kTensors[] = {
    {Role::kEmbedding, "model.embed_tokens", "token_embd"},
    {Role::kFinalNorm, "model.norm", "output_norm"},
    {Role::kHead, "lm_head", "output"},
    {Role::kMixerNorm, "input_layernorm", "attn_norm"},
    {Role::kFeedForwardNorm, "post_attention_layernorm", "ffn_norm"},
    {Role::kQuery, "self_attn.q_proj", "attn_q"},
    {Role::kKey, "self_attn.k_proj", "attn_k"},
    {Role::kValue, "self_attn.v_proj", "attn_v"},
    {Role::kAttentionOut, "self_attn.o_proj", "attn_output"},
    {Role::kGate, "mlp.gate_proj", "ffn_gate"},
    {Role::kUp, "mlp.up_proj", "ffn_up"},
    {Role::kDown, "mlp.down_proj", "ffn_down"},
};

Layer LayerAt(const ModelConfig& /*config*/, int64_t /*index*/) {
  return {{Role::kMixerNorm, {{BlockKind::kAttention, "self_attn"}}},
          {Role::kFeedForwardNorm, {{BlockKind::kGatedMlp, "mlp"}}}};
}

void Read(ConfigReader& keys, ModelConfig& config) {
  ReadCommon(keys, config);
  config.norm_eps = keys.PositiveNumber({"rms_norm_eps"}, kNormEps);
  config.tie_word_embeddings = keys.Bool({"tie_word_embeddings"}, false);
  config.attention_layers.assign(static_cast<size_t>(ReadLayerCount(keys)), true);
  config.intermediate_size = keys.RequiredInt({"intermediate_size"}, {1, kMaxIntermediate});
  config.rope_theta = ReadRopeTheta(keys, kRopeTheta);
  config.max_position_embeddings = ReadPositions(keys, kPositions);
  keys.MustBe("rope_interleaved", false);
}

void Write(const ModelConfig& config, Json& out) {
  PutRopeParameters(config, out);
  out["hidden_act"] = "silu";
  out["attention_bias"] = false;
  out["mlp_bias"] = false;
  out["initializer_range"] = 0.02;
  out["use_cache"] = true;
}

// Refuses llama.cpp's variants of llama that this program does not support.
absl::Status ReadGguf(GgufKeys& keys) {
  keys.CopyCommon();
  keys.Copy("attention.head_count_kv", "num_key_value_heads");
  LFM2_RETURN_IF_ERROR(keys.MustBe("rope.scaling.type", "none", "scaled RoPE is not supported"));
  LFM2_RETURN_IF_ERROR(keys.MustBe("expert_count", 0, "a mixture of experts is not supported"));
  return keys.CheckHeads();
}

}  // namespace

extern constinit const ArchSpec kLlamaArch;
constinit const ArchSpec kLlamaArch = {
    .id = Architecture::kLlama,
    .name = "llama",
    .model_type = "llama",
    .hf_class = "LlamaForCausalLM",
    .gguf = "llama",
    .tensors = kTensors,
    .mark = Role::kMixerNorm,
    .eps_key = "rms_norm_eps",
    .attends_word = nullptr,
    .other_word = nullptr,
    .has_conv = false,
    .has_ssm = false,
    .has_parallel = false,
    .chooses_attention = false,
    .attn_every = 1,
    .rope_theta = kRopeTheta,
    .qk_norm = false,
    .gguf_pairs_rows = true,
    .converted_from = nullptr,
    .layer = LayerAt,
    .read = Read,
    .write = Write,
    .read_gguf = ReadGguf,
};

}  // namespace lfm2
