#include "model/convert/convert_infer.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr int64_t kByteVocabulary = 259;
constexpr int64_t kFreshHidden = 256;
constexpr int64_t kFreshLayers = 4;
constexpr int64_t kFreshAttentionEvery = 2;
constexpr int64_t kFreshSsmState = 16;
constexpr double kLfm2Theta = 1e6, kHybridTheta = 1e4, kLlamaTheta = 1e4;
constexpr std::string_view kLayers = "model.layers.";

// "model.layers.<i>.<rest>"
struct LayerName {
  int64_t layer = 0;
  std::string_view rest;
};

std::optional<LayerName> ParseLayerName(std::string_view name) {
  if (!name.starts_with(kLayers)) return std::nullopt;
  name.remove_prefix(kLayers.size());
  LayerName out;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), out.layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.') return std::nullopt;
  out.rest = name.substr(static_cast<size_t>(end - name.data()) + 1);
  return out;
}

absl::Status Missing(std::string_view what) {
  return Error(
      Reason::kConfigInvalid,
      absl::StrCat("the source has no config, and its tensors do not tell ", std::string(what)));
}

int64_t Dimension(const TensorView* tensor, size_t axis) {
  return tensor != nullptr && axis < tensor->shape.size() ? tensor->shape[axis] : 0;
}

// The first tensor of any layer with this rest of the name.
const TensorView* FindInLayers(const TensorArchive& weights, std::string_view rest) {
  for (const TensorView& tensor : weights.tensors) {
    const auto name = ParseLayerName(tensor.name);
    if (name && name->rest == rest) return &tensor;
  }
  return nullptr;
}

absl::Status InferLayers(const TensorArchive& weights, ModelConfig& config) {
  int64_t layers = 0;
  for (const TensorView& tensor : weights.tensors) {
    const auto name = ParseLayerName(tensor.name);
    if (!name) continue;
    if (name->layer < 0 || name->layer >= kDefaultLimits.layers) {
      return Error(Reason::kConfigInvalid, absl::StrCat("tensor ", tensor.name, ": layer past ",
                                                        kDefaultLimits.layers - 1));
    }
    layers = std::max(layers, name->layer + 1);
  }
  if (layers == 0) return Missing("how many layers it has (no model.layers.N tensor)");
  config.attention_layers.assign(static_cast<size_t>(layers), false);
  for (const TensorView& tensor : weights.tensors) {
    const auto name = ParseLayerName(tensor.name);
    if (name && name->rest == "self_attn.q_proj.weight") {
      config.attention_layers[static_cast<size_t>(name->layer)] = true;
    }
  }
  return absl::OkStatus();
}

absl::Status InferHeads(const TensorArchive& weights, const ModelShape& hints,
                        ModelConfig& config) {
  const int64_t query = Dimension(FindInLayers(weights, "self_attn.q_proj.weight"), 0);
  const int64_t key = Dimension(FindInLayers(weights, "self_attn.k_proj.weight"), 0);
  if (query == 0) {
    config.num_attention_heads =
        hints.num_heads.value_or(std::max<int64_t>(1, config.hidden_size / kDefaultHeadDim));
    config.num_key_value_heads = hints.num_kv_heads.value_or(config.num_attention_heads);
    config.head_dim = config.hidden_size / std::max<int64_t>(1, config.num_attention_heads);
    return absl::OkStatus();
  }
  config.head_dim = Dimension(FindInLayers(weights, "self_attn.q_layernorm.weight"), 0);
  if (config.head_dim == 0 && hints.num_heads && *hints.num_heads > 0) {
    config.head_dim = query / *hints.num_heads;
  }
  if (config.head_dim == 0) config.head_dim = kDefaultHeadDim;
  if (key == 0 || query % config.head_dim != 0 || key % config.head_dim != 0) {
    return Error(
        Reason::kConfigInvalid,
        absl::StrCat("the source has no config, and ", query, " query and ", key,
                     " key rows are not whole heads of ", config.head_dim, ": give n_heads"));
  }
  config.num_attention_heads = query / config.head_dim;
  config.num_key_value_heads = key / config.head_dim;
  return absl::OkStatus();
}

// A tensor that every layer of the architecture has and no other one.
struct Mark {
  Architecture architecture;
  std::string_view tensor, feed_forward;
  double rope_theta;
};

constexpr Mark kMarks[] = {
    {Architecture::kHybrid, "ssm.A_log", "mlp.gate_proj.weight", kHybridTheta},
    {Architecture::kLfm2, "operator_norm.weight", "feed_forward.w1.weight", kLfm2Theta},
    {Architecture::kLlama, "input_layernorm.weight", "mlp.gate_proj.weight", kLlamaTheta},
};

const Mark* FindMark(const TensorArchive& weights) {
  for (const Mark& mark : kMarks) {
    if (FindInLayers(weights, mark.tensor) != nullptr) return &mark;
  }
  return nullptr;
}

double ThetaOf(Architecture architecture) {
  for (const Mark& mark : kMarks) {
    if (mark.architecture == architecture) return mark.rope_theta;
  }
  return kHybridTheta;
}

}  // namespace

absl::StatusOr<ModelConfig> InferConfig(const TensorArchive& weights, const ModelShape& hints) {
  const TensorView* embedding = weights.Find("model.embed_tokens.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return Missing("vocab_size and d_model (no matrix model.embed_tokens.weight)");
  }
  ModelConfig config;
  const Mark* mark = FindMark(weights);
  if (mark == nullptr) {
    return Missing(
        "its architecture (none of ssm.A_log, operator_norm and input_layernorm in its layers)");
  }
  config.architecture = mark->architecture;
  const bool hybrid = config.architecture == Architecture::kHybrid;
  config.vocab_size = embedding->shape[0];
  config.hidden_size = embedding->shape[1];
  config.intermediate_size = Dimension(FindInLayers(weights, mark->feed_forward), 0);
  if (config.intermediate_size == 0) return Missing("the width of its feed-forward");
  LFM2_RETURN_IF_ERROR(InferLayers(weights, config));
  LFM2_RETURN_IF_ERROR(InferHeads(weights, hints, config));
  config.rope_theta = hints.rope_theta.value_or(mark->rope_theta);
  config.norm_eps = hints.norm_eps.value_or(config.norm_eps);
  config.tie_word_embeddings = weights.Find("lm_head.weight") == nullptr;
  config.qk_norm = config.architecture == Architecture::kLfm2;
  if (hybrid) {
    config.ssm_state_size = Dimension(FindInLayers(weights, "ssm.A_log"), 1);
    config.parallel_residual = FindInLayers(weights, "ffn_norm.weight") == nullptr;
  } else if (const TensorView* conv = FindInLayers(weights, "conv.conv.weight")) {
    config.conv_kernel = Dimension(conv, 2);
    config.conv_bias = FindInLayers(weights, "conv.in_proj.bias") != nullptr;
  }
  return config;
}

ModelConfig FreshConfig(const ModelShape& shape) {
  ModelConfig config;
  config.architecture = shape.architecture.value_or(Architecture::kHybrid);
  const bool hybrid = config.architecture == Architecture::kHybrid;
  config.vocab_size = shape.vocab_size.value_or(kByteVocabulary);
  config.hidden_size = shape.hidden_size.value_or(kFreshHidden);
  config.intermediate_size = shape.intermediate_size.value_or(3 * config.hidden_size);
  config.num_attention_heads =
      shape.num_heads.value_or(std::max<int64_t>(1, config.hidden_size / kDefaultHeadDim));
  const int64_t heads = config.num_attention_heads;
  config.num_key_value_heads = shape.num_kv_heads.value_or(heads % 2 == 0 ? heads / 2 : heads);
  config.head_dim = heads > 0 ? config.hidden_size / heads : 0;
  config.conv_kernel = shape.conv_kernel.value_or(config.conv_kernel);
  config.ssm_state_size = hybrid ? shape.ssm_state_size.value_or(kFreshSsmState) : 0;
  config.parallel_residual = shape.parallel_residual.value_or(false);
  config.tie_word_embeddings = shape.tie_word_embeddings.value_or(true);
  config.rope_theta = shape.rope_theta.value_or(ThetaOf(config.architecture));
  config.norm_eps = shape.norm_eps.value_or(config.norm_eps);
  config.qk_norm = config.architecture == Architecture::kLfm2;
  const int64_t layers =
      std::clamp<int64_t>(shape.num_layers.value_or(kFreshLayers), 0, kDefaultLimits.layers + 1);
  const bool llama = config.architecture == Architecture::kLlama;
  config.attention_layers =
      AttentionEvery(layers, shape.attn_every.value_or(llama ? 1 : kFreshAttentionEvery));
  return config;
}

ModelConfig Recast(const ModelConfig& config, Architecture architecture) {
  ModelConfig out = config;
  if (architecture == config.architecture) return out;
  const ModelConfig defaults;
  const bool hybrid = architecture == Architecture::kHybrid;
  out.architecture = architecture;
  out.qk_norm = architecture == Architecture::kLfm2;
  out.conv_kernel = defaults.conv_kernel;
  out.conv_bias = defaults.conv_bias;
  out.ssm_state_size = hybrid ? kFreshSsmState : 0;
  out.parallel_residual = false;
  return out;
}

}  // namespace lfm2
