// ParseModelConfig: config.json to ModelConfig. All that is wrong is reported at once.
#include <cmath>
#include <initializer_list>

#include "base/errors.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/arch/config.h"

namespace lfm2 {
namespace {

// Wide enough for every model of this kind; small enough that no product of sizes leaves 63 bits.
constexpr int64_t kMaxHidden = int64_t{1} << 17;
constexpr int64_t kMaxIntermediate = int64_t{1} << 20;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxHeadDim = 8192;
constexpr int64_t kMaxConvKernel = 64;
constexpr int64_t kMaxSsmState = 4096;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr int64_t kLfm2Positions = 128'000;  // transformers' default
constexpr double kLfm2Theta = 1e6;           // transformers' default
constexpr double kHybridTheta = 1e4;
// transformers' defaults
constexpr int64_t kLlamaPositions = 2048;
constexpr double kLlamaTheta = 1e4;
constexpr double kLlamaEps = 1e-6;

using Names = std::initializer_list<const char*>;

struct Range {
  int64_t min;
  int64_t max;
};

std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 64) text = text.substr(0, 61) + "...";
  return text;
}

// Reads keys of one object. The first name is the modern one, the others are legacy; null is
// absence.
class KeyReader {
 public:
  KeyReader(const Json& object, Violations& violations)
      : object_(object), violations_(violations) {}

  const Json* Find(Names names) {
    const Json* found = nullptr;
    const char* found_name = nullptr;
    for (const char* name : names) {
      const auto it = object_.find(name);
      if (it == object_.end() || it->is_null()) continue;
      if (found == nullptr) {
        found = &*it;
        found_name = name;
      } else if (*found != *it) {
        violations_.Add(
            name, "is " + Shown(*it) + ", which contradicts " + found_name + " = " + Shown(*found));
      }
    }
    return found;
  }

  std::optional<int64_t> OptionalInt(Names names, Range range) {
    const Json* value = Find(names);
    if (value == nullptr) return std::nullopt;
    const std::string rule =
        "an integer from " + std::to_string(range.min) + " to " + std::to_string(range.max);
    const bool fits = value->is_number_integer() &&
                      !(value->is_number_unsigned() &&
                        value->get<uint64_t>() > static_cast<uint64_t>(range.max)) &&
                      value->get<int64_t>() >= range.min && value->get<int64_t>() <= range.max;
    if (fits) return value->get<int64_t>();
    Wrong(names, *value, rule);
    return std::nullopt;
  }

  // 1 where the key is absent or wrong: a violation is recorded, so the value is never used.
  int64_t RequiredInt(Names names, Range range) {
    if (Find(names) == nullptr) violations_.Add(*names.begin(), "is missing");
    return OptionalInt(names, range).value_or(1);
  }

  bool Bool(Names names, bool fallback) {
    const Json* value = Find(names);
    if (value == nullptr) return fallback;
    if (value->is_boolean()) return value->get<bool>();
    Wrong(names, *value, "true or false");
    return fallback;
  }

  double PositiveNumber(Names names, double fallback) {
    const Json* value = Find(names);
    return value == nullptr ? fallback : Positive(*names.begin(), *value, fallback);
  }

  double Positive(const char* name, const Json& value, double fallback) {
    if (value.is_number()) {
      const double number = value.get<double>();
      if (std::isfinite(number) && number > 0) return number;
    }
    Wrong({name}, value, "a positive number");
    return fallback;
  }

  // The key, when present, must have the one value that this program computes.
  void MustBe(const char* name, const Json& only) {
    const Json* value = Find({name});
    if (value != nullptr && *value != only)
      Wrong({name}, *value, Shown(only) + " (others are not supported)");
  }

  void Wrong(Names names, const Json& value, const std::string& rule) {
    violations_.Add(*names.begin(), "is " + Shown(value) + ", must be " + rule);
  }

  const Json& object() const { return object_; }
  Violations& violations() { return violations_; }

 private:
  const Json& object_;
  Violations& violations_;
};

absl::Status CheckModelType(const Json& root) {
  const auto it = root.find("model_type");
  if (it == root.end() || !it->is_string()) {
    return Error(Reason::kConfigInvalid,
                 "model_type is missing; it must be \"lfm2\", \"lfm2_ssm_hybrid\" or \"llama\"",
                 {{"key", "model_type"}});
  }
  const std::string type = it->get<std::string>();
  if (type == "lfm2" || type == "lfm2_ssm_hybrid" || type == "llama") return absl::OkStatus();
  std::string what = "is none of this program's";
  if (type.find("moe") != std::string::npos)
    what = "is a mixture of experts, which is not supported";
  if (type.find("vl") != std::string::npos) what = "is a vision model, which is not supported";
  if (type.find("audio") != std::string::npos) what = "is an audio model, which is not supported";
  if (type.find("lfm3") != std::string::npos) what = "is LFM3, which is not supported";
  return Error(
      Reason::kConfigInvalid,
      "model_type " + Shown(*it) + " " + what + "; \"lfm2\", \"lfm2_ssm_hybrid\" and \"llama\" are",
      {{"key", "model_type"}, {"value", type.substr(0, 64)}});
}

void ReadTokenIds(KeyReader& keys, ModelConfig& config) {
  const Range ids = {0, std::max<int64_t>(config.vocab_size - 1, 0)};
  const auto id = [&](const char* name) -> std::optional<int32_t> {
    const std::optional<int64_t> value = keys.OptionalInt({name}, ids);
    return value ? std::optional<int32_t>(static_cast<int32_t>(*value)) : std::nullopt;
  };
  config.bos_token_id = id("bos_token_id");
  config.pad_token_id = id("pad_token_id");
  const Json* eos = keys.Find({"eos_token_id"});
  if (eos == nullptr || !eos->is_array()) {
    config.eos_token_id = id("eos_token_id");
    if (config.eos_token_id) config.eos_token_ids = {*config.eos_token_id};
    return;
  }
  for (const Json& entry : *eos) {
    Json one = {{"eos_token_id", entry}};
    KeyReader reader(one, keys.violations());
    config.eos_token_ids.push_back(static_cast<int32_t>(reader.RequiredInt({"eos_token_id"}, ids)));
  }
  if (!config.eos_token_ids.empty()) config.eos_token_id = config.eos_token_ids.front();
}

double ReadRopeTheta(KeyReader& keys, double fallback) {
  const Json* flat = keys.Find({"rope_theta", "theta"});
  double theta = flat == nullptr ? fallback : keys.Positive("rope_theta", *flat, fallback);
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    const Json* nested = keys.Find({name});
    if (nested == nullptr) continue;
    if (!nested->is_object()) {
      keys.Wrong({name}, *nested, "an object");
      continue;
    }
    KeyReader inside(*nested, keys.violations());
    const Json* type = inside.Find({"rope_type", "type"});
    if (type != nullptr && *type != "default") {
      inside.Wrong({"rope_type"}, *type, "\"default\" (scaled RoPE is not supported)");
    }
    inside.MustBe("partial_rotary_factor", 1.0);
    const Json* value = inside.Find({"rope_theta"});
    if (value == nullptr) continue;
    if (flat != nullptr && *flat != *value) {
      keys.violations().Add("rope_theta", "is " + Shown(*flat) + ", which contradicts " + name +
                                              ".rope_theta = " + Shown(*value));
    }
    theta = inside.Positive("rope_theta", *value, fallback);
  }
  return theta;
}

void ReadHeads(KeyReader& keys, ModelConfig& config) {
  config.num_attention_heads =
      keys.RequiredInt({"num_attention_heads", "num_heads"}, {1, kMaxHeads});
  config.num_key_value_heads = keys.OptionalInt({"num_key_value_heads"}, {1, kMaxHeads})
                                   .value_or(config.num_attention_heads);
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    keys.violations().Add(
        "num_key_value_heads",
        "is " + std::to_string(config.num_key_value_heads) + ", must divide " +
            "num_attention_heads = " + std::to_string(config.num_attention_heads));
  }
  const std::optional<int64_t> head_dim = keys.OptionalInt({"head_dim"}, {2, kMaxHeadDim});
  if (!head_dim && config.hidden_size % config.num_attention_heads != 0) {
    keys.violations().Add("hidden_size", "is " + std::to_string(config.hidden_size) +
                                             ", must be a multiple of num_attention_heads = " +
                                             std::to_string(config.num_attention_heads) +
                                             " when head_dim is not given");
  }
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_attention_heads);
  if (config.head_dim < 2 || config.head_dim % 2 != 0) {
    keys.violations().Add("head_dim", "is " + std::to_string(config.head_dim) +
                                          ", must be even and at least 2 (RoPE turns pairs)");
  }
}

// layer_types as a list of attends / does not; nullopt when the key is absent.
std::optional<std::vector<bool>> ReadLayerTypes(KeyReader& keys, int64_t layers,
                                                const char* attends, const char* other) {
  const Json* types = keys.Find({"layer_types"});
  if (types == nullptr) return std::nullopt;
  std::vector<bool> out(static_cast<size_t>(layers), false);
  if (!types->is_array() || static_cast<int64_t>(types->size()) != layers) {
    keys.Wrong({"layer_types"}, *types,
               "a list of num_hidden_layers = " + std::to_string(layers) + " names");
    return out;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    const Json& type = (*types)[i];
    if (type != attends && type != other) {
      keys.violations().Add("layer_types", "[" + std::to_string(i) + "] is " + Shown(type) +
                                               ", must be \"" + attends + "\" or \"" + other +
                                               "\"");
    }
    out[i] = type == attends;
  }
  return out;
}

std::optional<std::vector<bool>> ReadAttentionIndices(KeyReader& keys, int64_t layers) {
  const Json* indices = keys.Find({"full_attn_idxs"});
  if (indices == nullptr) return std::nullopt;
  std::vector<bool> out(static_cast<size_t>(layers), false);
  if (!indices->is_array()) {
    keys.Wrong({"full_attn_idxs"}, *indices, "a list of layer numbers");
    return out;
  }
  for (const Json& entry : *indices) {
    Json one = {{"full_attn_idxs", entry}};
    KeyReader reader(one, keys.violations());
    out[static_cast<size_t>(reader.OptionalInt({"full_attn_idxs"}, {0, layers - 1}).value_or(0))] =
        true;
  }
  return out;
}

void ReadLfm2Layers(KeyReader& keys, int64_t layers, ModelConfig& config) {
  const auto types = ReadLayerTypes(keys, layers, "full_attention", "conv");
  const auto indices = ReadAttentionIndices(keys, layers);
  if (types && indices && *types != *indices) {
    keys.violations().Add("full_attn_idxs", "contradicts layer_types");
  }
  // transformers: neither key means that every layer attends.
  const std::vector<bool> all(static_cast<size_t>(layers), true);
  config.attention_layers = types ? *types : indices.value_or(all);
}

// transformers' Lfm2MLP: int(2 * ff / 3), times the multiplier, up to the next multiple.
void ReadLfm2Width(KeyReader& keys, ModelConfig& config) {
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
                                                   "takes outside 1 to " +
                                                   std::to_string(kMaxIntermediate));
  }
  config.intermediate_size = width;
  config.formula_intermediate_size = width;
  config.configured_intermediate_size = configured;
}

void ReadCommon(KeyReader& keys, ModelConfig& config) {
  config.vocab_size = keys.RequiredInt({"vocab_size"}, {1, kDefaultLimits.vocab_size});
  config.hidden_size =
      keys.RequiredInt({"hidden_size", "block_dim", "conv_dim", "conv_dim_out"}, {2, kMaxHidden});
  ReadHeads(keys, config);
  ReadTokenIds(keys, config);
  keys.MustBe("hidden_act", "silu");
  keys.MustBe("attention_bias", false);
  keys.MustBe("mlp_bias", false);
  keys.MustBe("partial_rotary_factor", 1.0);
  for (const char* name : {"quantization_config", "sliding_window"}) {
    const Json* value = keys.Find({name});
    if (value != nullptr) keys.Wrong({name}, *value, "absent (not supported)");
  }
}

// LFM2's own two and the hybrid's.
void ReadNormAndHead(KeyReader& keys, ModelConfig& config) {
  config.norm_eps = keys.PositiveNumber({"norm_eps", "block_norm_eps"}, 1e-5);
  config.tie_word_embeddings = keys.Bool({"tie_word_embeddings", "tie_embedding"}, true);
}

void ReadLfm2(KeyReader& keys, ModelConfig& config) {
  config.architecture = Architecture::kLfm2;
  config.qk_norm = true;
  ReadCommon(keys, config);
  ReadNormAndHead(keys, config);
  const int64_t layers = keys.RequiredInt({"num_hidden_layers"}, {1, kDefaultLimits.layers});
  ReadLfm2Layers(keys, layers, config);
  ReadLfm2Width(keys, config);
  config.rope_theta = ReadRopeTheta(keys, kLfm2Theta);
  config.conv_kernel = keys.OptionalInt({"conv_L_cache"}, {1, kMaxConvKernel}).value_or(3);
  config.conv_bias = keys.Bool({"conv_bias"}, false);
  config.max_position_embeddings =
      keys.OptionalInt({"max_position_embeddings"}, {1, kMaxPositions}).value_or(kLfm2Positions);
}

void ReadHybrid(KeyReader& keys, ModelConfig& config) {
  config.architecture = Architecture::kHybrid;
  ReadCommon(keys, config);
  ReadNormAndHead(keys, config);
  const int64_t layers = keys.RequiredInt({"num_hidden_layers"}, {1, kDefaultLimits.layers});
  const auto types = ReadLayerTypes(keys, layers, "attention_ssm", "ssm");
  const auto every = keys.OptionalInt({"attn_every"}, {0, kDefaultLimits.layers});
  const auto compiled = AttentionEvery(layers, every.value_or(0));
  if (!types && !every) keys.violations().Add("attn_every", "is missing, and so is layer_types");
  if (types && every && *types != compiled) {
    keys.violations().Add("attn_every",
                          "is " + std::to_string(*every) + ", which contradicts layer_types");
  }
  config.attention_layers = types ? *types : compiled;
  config.intermediate_size = keys.RequiredInt({"intermediate_size"}, {1, kMaxIntermediate});
  config.ssm_state_size = keys.RequiredInt({"ssm_state_size"}, {1, kMaxSsmState});
  config.parallel_residual = keys.Bool({"parallel_residual"}, false);
  config.rope_theta = ReadRopeTheta(keys, kHybridTheta);
  config.max_position_embeddings =
      keys.OptionalInt({"max_position_embeddings"}, {1, kMaxPositions}).value_or(0);
}

void ReadLlama(KeyReader& keys, ModelConfig& config) {
  config.architecture = Architecture::kLlama;
  ReadCommon(keys, config);
  config.norm_eps = keys.PositiveNumber({"rms_norm_eps"}, kLlamaEps);
  config.tie_word_embeddings = keys.Bool({"tie_word_embeddings"}, false);
  const int64_t layers = keys.RequiredInt({"num_hidden_layers"}, {1, kDefaultLimits.layers});
  config.attention_layers.assign(static_cast<size_t>(layers), true);
  config.intermediate_size = keys.RequiredInt({"intermediate_size"}, {1, kMaxIntermediate});
  config.rope_theta = ReadRopeTheta(keys, kLlamaTheta);
  config.max_position_embeddings =
      keys.OptionalInt({"max_position_embeddings"}, {1, kMaxPositions}).value_or(kLlamaPositions);
  keys.MustBe("rope_interleaved", false);
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json_text) {
  absl::StatusOr<Json> root = ParseJson(json_text);
  if (!root.ok()) {
    return Error(Reason::kConfigInvalid, "config.json: " + std::string(root.status().message()));
  }
  if (!root->is_object()) return Error(Reason::kConfigInvalid, "config.json is not an object");
  LFM2_RETURN_IF_ERROR(CheckModelType(*root));
  Violations violations;
  KeyReader keys(*root, violations);
  ModelConfig config;
  if ((*root)["model_type"] == "lfm2") {
    ReadLfm2(keys, config);
  } else if ((*root)["model_type"] == "llama") {
    ReadLlama(keys, config);
  } else {
    ReadHybrid(keys, config);
  }
  LFM2_RETURN_IF_ERROR(violations.ToStatus(Reason::kConfigInvalid));
  return config;
}

}  // namespace lfm2
