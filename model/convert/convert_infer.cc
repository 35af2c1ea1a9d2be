#include "model/convert/convert_infer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/arch/registry.h"

namespace lfm2 {
namespace {

constexpr int64_t kByteVocabulary = 259;
constexpr int64_t kFreshHidden = 256;
constexpr int64_t kFreshLayers = 4;
constexpr int64_t kFreshSsmState = 16;

absl::Status Missing(std::string_view what) {
  return Error(
      Reason::kConfigInvalid,
      absl::StrCat("the source has no config, and its tensors do not show ", std::string(what)));
}

int64_t Dimension(const TensorView* tensor, size_t axis) {
  return tensor != nullptr && axis < tensor->shape.size() ? tensor->shape[axis] : 0;
}

// The tensors of a file without a config, interpreted with the names of one architecture.
class Tensors {
 public:
  Tensors(const ArchSpec& spec, const TensorArchive& weights) {
    for (const TensorView& tensor : weights.tensors) {
      const std::optional<TensorId> id = IdOf(spec.tensors, tensor.name);
      if (id && id->layer >= 0) found_.emplace_back(*id, &tensor);
    }
  }

  // The first tensor of any layer with this role.
  const TensorView* Find(Role role, bool bias = false) const {
    for (const auto& [id, tensor] : found_) {
      if (id.role == role && id.bias == bias) return tensor;
    }
    return nullptr;
  }

  const std::vector<std::pair<TensorId, const TensorView*>>& all() const { return found_; }

 private:
  std::vector<std::pair<TensorId, const TensorView*>> found_;
};

absl::Status InferLayers(const TensorArchive& weights, const Tensors& known, ModelConfig& config) {
  int64_t layers = 0;
  for (const TensorView& tensor : weights.tensors) {
    const std::optional<int64_t> layer = LayerOf(tensor.name);
    if (!layer) continue;
    if (*layer < 0 || *layer >= kDefaultLimits.layers) {
      return Error(Reason::kConfigInvalid, absl::StrCat("tensor ", tensor.name, ": layer past ",
                                                        kDefaultLimits.layers - 1));
    }
    layers = std::max(layers, *layer + 1);
  }
  if (layers == 0) return Missing("how many layers it has (no model.layers.N tensor)");
  config.attention_layers.assign(static_cast<size_t>(layers), false);
  for (const auto& [id, tensor] : known.all()) {
    if (id.role == Role::kQuery && !id.bias) {
      config.attention_layers[static_cast<size_t>(id.layer)] = true;
    }
  }
  return absl::OkStatus();
}

absl::Status InferHeads(const Tensors& known, const ModelShape& hints, ModelConfig& config) {
  const int64_t query = Dimension(known.Find(Role::kQuery), 0);
  const int64_t key = Dimension(known.Find(Role::kKey), 0);
  if (query == 0) {
    config.num_attention_heads =
        hints.num_heads.value_or(std::max<int64_t>(1, config.hidden_size / kDefaultHeadDim));
    config.num_key_value_heads = hints.num_kv_heads.value_or(config.num_attention_heads);
    config.head_dim = config.hidden_size / std::max<int64_t>(1, config.num_attention_heads);
    return absl::OkStatus();
  }
  config.head_dim = Dimension(known.Find(Role::kQueryNorm), 0);
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

const ArchSpec* FindMarked(const TensorArchive& weights) {
  for (const ArchSpec* spec : ArchitecturesByMark()) {
    if (Tensors(*spec, weights).Find(spec->mark) != nullptr) return spec;
  }
  return nullptr;
}

std::string Marks() {
  std::string out;
  const auto all = ArchitecturesByMark();
  for (size_t i = 0; i < all.size(); ++i) {
    absl::StrAppend(&out, i == 0 ? "" : i + 1 == all.size() ? " and " : ", ");
    absl::StrAppend(&out, StemOf(all[i]->tensors, all[i]->mark));
  }
  return out;
}

}  // namespace

absl::StatusOr<ModelConfig> InferConfig(const TensorArchive& weights, const ModelShape& hints) {
  const TensorView* embedding = weights.Find(kEmbeddingWeight);
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return Missing(absl::StrCat("vocab_size and d_model (no matrix ", kEmbeddingWeight, ")"));
  }
  const ArchSpec* spec = FindMarked(weights);
  if (spec == nullptr) {
    return Missing(absl::StrCat("its architecture (none of ", Marks(), " in its layers)"));
  }
  const Tensors known(*spec, weights);
  ModelConfig config;
  config.architecture = spec->id;
  config.vocab_size = embedding->shape[0];
  config.hidden_size = embedding->shape[1];
  config.intermediate_size = Dimension(known.Find(Role::kGate), 0);
  if (config.intermediate_size == 0) return Missing("the width of its feed-forward");
  LFM2_RETURN_IF_ERROR(InferLayers(weights, known, config));
  LFM2_RETURN_IF_ERROR(InferHeads(known, hints, config));
  config.rope_theta = hints.rope_theta.value_or(spec->rope_theta);
  config.norm_eps = hints.norm_eps.value_or(config.norm_eps);
  config.tie_word_embeddings = weights.Find(kHeadWeight) == nullptr;
  config.qk_norm = spec->qk_norm;
  if (spec->has_ssm) config.ssm_state_size = Dimension(known.Find(Role::kSsmALog), 1);
  if (spec->has_parallel) {
    config.parallel_residual = known.Find(Role::kFeedForwardNorm) == nullptr;
  }
  if (const TensorView* conv = known.Find(Role::kConv)) {
    config.conv_kernel = Dimension(conv, 2);
    config.conv_bias = known.Find(Role::kConvIn, /*bias=*/true) != nullptr;
  }
  return config;
}

ModelConfig FreshConfig(const ModelShape& shape) {
  ModelConfig config;
  config.architecture = shape.architecture.value_or(DefaultArchitecture());
  const ArchSpec& spec = SpecOf(config);
  config.vocab_size = shape.vocab_size.value_or(kByteVocabulary);
  config.hidden_size = shape.hidden_size.value_or(kFreshHidden);
  config.intermediate_size = shape.intermediate_size.value_or(3 * config.hidden_size);
  config.num_attention_heads =
      shape.num_heads.value_or(std::max<int64_t>(1, config.hidden_size / kDefaultHeadDim));
  const int64_t heads = config.num_attention_heads;
  config.num_key_value_heads = shape.num_kv_heads.value_or(heads % 2 == 0 ? heads / 2 : heads);
  config.head_dim = heads > 0 ? config.hidden_size / heads : 0;
  config.conv_kernel = shape.conv_kernel.value_or(config.conv_kernel);
  config.ssm_state_size = spec.has_ssm ? shape.ssm_state_size.value_or(kFreshSsmState) : 0;
  config.parallel_residual = shape.parallel_residual.value_or(false);
  config.tie_word_embeddings = shape.tie_word_embeddings.value_or(true);
  config.rope_theta = shape.rope_theta.value_or(spec.rope_theta);
  config.norm_eps = shape.norm_eps.value_or(config.norm_eps);
  config.qk_norm = spec.qk_norm;
  const int64_t layers =
      std::clamp<int64_t>(shape.num_layers.value_or(kFreshLayers), 0, kDefaultLimits.layers + 1);
  config.attention_layers = AttentionEvery(layers, shape.attn_every.value_or(spec.attn_every));
  return config;
}

ModelConfig Recast(const ModelConfig& config, Architecture architecture) {
  ModelConfig out = config;
  if (architecture == config.architecture) return out;
  const ModelConfig defaults;
  const ArchSpec& spec = SpecOf(architecture);
  out.architecture = architecture;
  out.qk_norm = spec.qk_norm;
  out.conv_kernel = defaults.conv_kernel;
  out.conv_bias = defaults.conv_bias;
  out.ssm_state_size = spec.has_ssm ? kFreshSsmState : 0;
  out.parallel_residual = false;
  return out;
}

}  // namespace lfm2
