// config.json of a model, checked. What its architecture makes of it (layers, tensors, names, keys)
// is in that architecture's file; registry.h. Source of the layouts: shared design notes "The
// models, exactly" 1 and 2. Thread rule: plain data. No LibTorch.
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

// What every architecture calls its embedding and its head: for weights that have no config.
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
  int64_t max_position_embeddings = 0;  // 0: no limit of its own (hybrid without one)
  std::optional<int32_t> bos_token_id, eos_token_id, pad_token_id;
  std::vector<int32_t> eos_token_ids;  // all of generation_config / config when a list is given
  // One entry a layer: does it carry attention?
  std::vector<bool> attention_layers;
  // With block_auto_adjust_ff_dim, else absent: the width that the formula gives, and
  // intermediate_size as config.json has it. Parsing takes the formula's; OpenModelFolder takes the
  // other one when the weights have that (repackaged configs hold the adjusted width already), so
  // intermediate_size == *configured_... records that it happened.
  std::optional<int64_t> formula_intermediate_size;
  std::optional<int64_t> configured_intermediate_size;

  int64_t num_layers() const { return static_cast<int64_t>(attention_layers.size()); }
  std::vector<Layer> Layers() const;  // the explicit list of sub-blocks
  // Every tensor of the state dict, in the order of the forward pass; lm_head only when untied.
  std::vector<TensorSpec> TensorSpecs() const;
  int64_t ParameterCount() const;  // tied weights counted once
  TensorNames names() const;       // of its architecture
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

// Parses and checks: legacy keys accepted, contradictions refused, every size bounded
// (kDefaultLimits). kConfigInvalid naming the key, its value and the rule.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json_text);

// config.json text that ParseModelConfig reads back to an equal config (the effective width is
// written, so the two optional widths come back absent), and that transformers loads where it has
// the architecture.
std::string ModelConfigToJson(const ModelConfig& config);

// attn_every compiled to the explicit list: layer i attends when k > 0 and (i + 1) % k == 0.
std::vector<bool> AttentionEvery(int64_t num_layers, int64_t attn_every);

}  // namespace lfm2
