// A model's config.json after all checks. How its architecture interprets it (layers, tensors,
// names, keys) is in that architecture's file; see registry.h. Source of the layouts: shared design
// notes "The models, exactly" 1 and 2. Thread rule: plain data. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/architecture.h"
#include "model/arch/layer.h"
#include "model/arch/tensor_names.h"

namespace lfm2 {

// Names of the embedding and the head in every architecture, for weights without a config.
inline constexpr char kEmbeddingWeight[] = "model.embed_tokens.weight";
inline constexpr char kHeadWeight[] = "lm_head.weight";

struct TensorSpec {
  std::string name;  // Hugging Face's state-dict name, e.g. "model.layers.0.conv.in_proj.weight"
  std::vector<int64_t> shape;
  TensorId id;
};

struct ModelConfig {
  Architecture architecture = Architecture::kLfm2;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;  // effective width of the feed-forward: rows of w1 / gate_proj
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t conv_kernel = 3;         // conv_L_cache; LFM2 only
  bool conv_bias = false;          // LFM2 only: bias on conv, in_proj and out_proj
  int64_t ssm_state_size = 0;      // hybrid only
  bool parallel_residual = false;  // hybrid only
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;
  bool tie_word_embeddings = true;
  bool qk_norm = false;                 // RMSNorm over head_dim on q and k before RoPE: LFM2
  int64_t max_position_embeddings = 0;  // 0: no limit (hybrid only)
  std::optional<int32_t> bos_token_id, eos_token_id, pad_token_id;
  std::vector<int32_t> eos_token_ids;  // the whole list, if config or generation_config has one
  // One entry per layer: whether it has attention.
  std::vector<bool> attention_layers;
  // Only with block_auto_adjust_ff_dim: the width from the formula, and intermediate_size as
  // written in config.json. Parsing uses the formula's width. OpenModelFolder uses the written one
  // if the weights have it (repackaged configs already hold the adjusted width); intermediate_size
  // == *configured_... shows that this happened.
  std::optional<int64_t> formula_intermediate_size;
  std::optional<int64_t> configured_intermediate_size;

  int64_t num_layers() const { return static_cast<int64_t>(attention_layers.size()); }
  std::vector<Layer> Layers() const;  // the explicit list of sub-blocks
  // Every tensor of the state dict, in the order of the forward pass; lm_head only when untied.
  std::vector<TensorSpec> TensorSpecs() const;
  int64_t ParameterCount() const;  // tied weights counted once
  TensorNames names() const;       // its architecture's names
  // Name of a module, and of its weight: "model.layers.3.conv.in_proj", "….weight".
  std::string Module(Role role, int64_t layer = -1) const { return StemOf(names(), role, layer); }
  std::string Weight(Role role, int64_t layer = -1) const {
    return NameOf(names(), TensorId{role, layer});
  }
  std::string Bias(Role role, int64_t layer) const {
    return NameOf(names(), TensorId{role, layer, /*bias=*/true});
  }
  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// Parses and checks: accepts legacy keys, refuses contradictions, bounds every size
// (kDefaultLimits). kConfigInvalid naming the key, its value and the rule.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json_text);

// Returns config.json text that ParseModelConfig parses to an equal config. It holds the effective
// width, so the two optional widths are absent after parsing. transformers can load it if it
// supports the architecture.
std::string ModelConfigToJson(const ModelConfig& config);

// Expands attn_every (k) to the explicit list: layer i has attention if k > 0 and (i + 1) % k == 0.
std::vector<bool> AttentionEvery(int64_t num_layers, int64_t attn_every);

}  // namespace lfm2
