// PlanConfig: the config of the new model, and which flags contradict the source.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/arch/registry.h"
#include "model/convert/convert.h"
#include "model/convert/convert_infer.h"

namespace lfm2 {
namespace {

std::string Shown(bool value) { return value ? "true" : "false"; }
std::string Shown(int64_t value) { return absl::StrCat(value); }
std::string Shown(double value) { return absl::StrCat(value); }

// A flag that is set must equal the source's value.
template <typename T>
void MustEqual(Violations& out, const char* field, const std::optional<T>& flag, T source) {
  if (!flag || *flag == source) return;
  out.Add(field, absl::StrCat("is ", Shown(*flag), ", but the source has ", Shown(source)));
}

void CheckAttentionEvery(Violations& out, const std::optional<int64_t>& attn_every,
                         const ModelConfig& source) {
  if (!attn_every || *attn_every < 0) return;
  if (AttentionEvery(source.num_layers(), *attn_every) == source.attention_layers) return;
  std::string layers;
  for (int64_t i = 0; i < source.num_layers(); ++i) {
    if (!source.attention_layers[static_cast<size_t>(i)]) continue;
    absl::StrAppend(&layers, layers.empty() ? "" : ", ", i);
  }
  out.Add("attn_every", absl::StrCat("is ", *attn_every,
                                     ", but the source has attention in layers [", layers, "]"));
}

// Checks the sizes that are fixed by copied tensors, in both architectures.
void CheckSharedSizes(Violations& out, const ModelShape& shape, const ModelConfig& source) {
  MustEqual(out, "vocab_size", shape.vocab_size, source.vocab_size);
  MustEqual(out, "hidden_size", shape.hidden_size, source.hidden_size);
  MustEqual(out, "num_layers", shape.num_layers, source.num_layers());
  MustEqual(out, "num_heads", shape.num_heads, source.num_attention_heads);
  MustEqual(out, "intermediate_size", shape.intermediate_size, source.intermediate_size);
  MustEqual(out, "tie_word_embeddings", shape.tie_word_embeddings, source.tie_word_embeddings);
  MustEqual(out, "norm_eps", shape.norm_eps, source.norm_eps);
}

absl::Status CheckSameArchitecture(const ModelShape& shape, const ModelConfig& source) {
  Violations out;
  CheckSharedSizes(out, shape, source);
  MustEqual(out, "num_kv_heads", shape.num_kv_heads, source.num_key_value_heads);
  MustEqual(out, "rope_theta", shape.rope_theta, source.rope_theta);
  CheckAttentionEvery(out, shape.attn_every, source);
  const ArchSpec& spec = SpecOf(source);
  if (spec.has_ssm) MustEqual(out, "ssm_state_size", shape.ssm_state_size, source.ssm_state_size);
  if (spec.has_parallel) {
    MustEqual(out, "parallel_residual", shape.parallel_residual, source.parallel_residual);
  }
  if (spec.has_conv) MustEqual(out, "conv_kernel", shape.conv_kernel, source.conv_kernel);
  return out.ToStatus(Reason::kFlagContradictsModel);
}

absl::Status CheckCrossing(const ModelShape& shape, const ModelConfig& source) {
  Violations out;
  CheckSharedSizes(out, shape, source);
  if (shape.num_kv_heads &&
      (*shape.num_kv_heads < 1 || source.num_key_value_heads % *shape.num_kv_heads != 0)) {
    out.Add("num_kv_heads",
            absl::StrCat("is ", *shape.num_kv_heads, ", must divide the source's ",
                         source.num_key_value_heads, ", whose heads are averaged in groups"));
  }
  return out.ToStatus(Reason::kFlagContradictsModel);
}

// Refuses flags that do not apply to the new model's architecture.
absl::Status CheckForeignFlags(const ModelShape& shape, Architecture target) {
  Violations out;
  const ArchSpec& spec = SpecOf(target);
  const std::string of = absl::StrCat("is not a property of ", spec.name, " models");
  if (!spec.has_conv && shape.conv_kernel) out.Add("conv_kernel", of);
  if (!spec.has_ssm && shape.ssm_state_size) out.Add("ssm_state_size", of);
  if (!spec.has_parallel && shape.parallel_residual.value_or(false)) {
    out.Add("parallel_residual", of);
  }
  if (!spec.chooses_attention && shape.attn_every.value_or(1) != 1) {
    out.Add("attn_every", absl::StrCat("is ", *shape.attn_every, "; every layer of a ", spec.name,
                                       " model has attention"));
  }
  return out.ToStatus();
}

// Existing layers keep their kind. Additional layers have attention only if attn_every says so.
void ResizeLayers(const ModelShape& shape, ModelConfig& config) {
  const int64_t layers = std::clamp<int64_t>(shape.num_layers.value_or(config.num_layers()), 0,
                                             kDefaultLimits.layers + 1);
  config.attention_layers.resize(static_cast<size_t>(layers), !SpecOf(config).chooses_attention);
  if (shape.attn_every) config.attention_layers = AttentionEvery(layers, *shape.attn_every);
}

ModelConfig Overlay(const ModelShape& shape, ModelConfig config) {
  const bool sizes_change = shape.hidden_size || shape.num_heads;
  config.vocab_size = shape.vocab_size.value_or(config.vocab_size);
  config.hidden_size = shape.hidden_size.value_or(config.hidden_size);
  config.intermediate_size = shape.intermediate_size.value_or(config.intermediate_size);
  config.num_attention_heads = shape.num_heads.value_or(config.num_attention_heads);
  config.num_key_value_heads = shape.num_kv_heads.value_or(config.num_key_value_heads);
  if (sizes_change && config.num_attention_heads > 0) {
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  const ArchSpec& spec = SpecOf(config);
  if (spec.has_ssm) {
    config.ssm_state_size = shape.ssm_state_size.value_or(config.ssm_state_size);
  }
  if (spec.has_parallel) {
    config.parallel_residual = shape.parallel_residual.value_or(config.parallel_residual);
  }
  if (spec.has_conv) config.conv_kernel = shape.conv_kernel.value_or(config.conv_kernel);
  config.tie_word_embeddings = shape.tie_word_embeddings.value_or(config.tie_word_embeddings);
  config.rope_theta = shape.rope_theta.value_or(config.rope_theta);
  config.norm_eps = shape.norm_eps.value_or(config.norm_eps);
  ResizeLayers(shape, config);
  return config;
}

// Checks all rules of config.json by parsing the text that will be written.
absl::StatusOr<ModelConfig> Checked(const ModelConfig& config) {
  return ParseModelConfig(ModelConfigToJson(config));
}

absl::StatusOr<ModelConfig> SourceConfig(const ModelFolder& source, const ModelShape& shape) {
  if (source.config) return *source.config;
  return InferConfig(source.weights, shape);
}

absl::StatusOr<ModelConfig> PlanPartial(const ModelFolder& source, const ModelShape& shape) {
  const Architecture target = shape.architecture.value_or(DefaultArchitecture());
  const absl::StatusOr<ModelConfig> whole = SourceConfig(source, shape);
  if (whole.ok()) return Checked(Overlay(shape, Recast(*whole, target)));
  // A config cannot be inferred: vocab_size and d_model come from the embedding, the rest as for a
  // fresh model.
  ModelShape filled = shape;
  const TensorView* embedding = source.weights.Find(kEmbeddingWeight);
  if (embedding != nullptr && embedding->shape.size() == 2) {
    if (!filled.vocab_size) filled.vocab_size = embedding->shape[0];
    if (!filled.hidden_size) filled.hidden_size = embedding->shape[1];
  }
  if (!filled.vocab_size || !filled.hidden_size) {
    return Annotate(whole.status(), "give vocab_size and d_model");
  }
  return Checked(FreshConfig(filled));
}

}  // namespace

absl::StatusOr<ModelConfig> PlanConfig(const ModelFolder* source, const ConversionSpec& spec) {
  const ModelShape& shape = spec.shape;
  if (source == nullptr) {
    const ModelConfig fresh = FreshConfig(shape);
    LFM2_RETURN_IF_ERROR(CheckForeignFlags(shape, fresh.architecture));
    return Checked(fresh);
  }
  if (spec.partial) {
    LFM2_RETURN_IF_ERROR(
        CheckForeignFlags(shape, shape.architecture.value_or(DefaultArchitecture())));
    return PlanPartial(*source, shape);
  }
  LFM2_ASSIGN_OR_RETURN(const ModelConfig config, SourceConfig(*source, shape));
  const Architecture target = shape.architecture.value_or(config.architecture);
  LFM2_RETURN_IF_ERROR(CheckForeignFlags(shape, target));
  if (target == config.architecture) {
    LFM2_RETURN_IF_ERROR(CheckSameArchitecture(shape, config));
    return Checked(config);
  }
  if (SpecOf(target).converted_from == nullptr) {
    return Error(Reason::kUnsupported,
                 absl::StrCat("a model of architecture ", NameOf(config.architecture),
                              " cannot be converted to ", NameOf(target),
                              ", which has different layers; a partial load copies what "
                              "matches by name"));
  }
  LFM2_RETURN_IF_ERROR(CheckCrossing(shape, config));
  return Checked(Overlay(shape, Recast(config, target)));
}

}  // namespace lfm2
