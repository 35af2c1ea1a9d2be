#include "model/arch/config_reader.h"

#include <algorithm>
#include <cmath>

#include "base/limits.h"

namespace lfm2 {
namespace {

void ReadTokenIds(ConfigReader& keys, ModelConfig& config) {
  const ConfigReader::Range ids = {0, std::max<int64_t>(config.vocab_size - 1, 0)};
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
    ConfigReader reader(one, keys.violations());
    config.eos_token_ids.push_back(static_cast<int32_t>(reader.RequiredInt({"eos_token_id"}, ids)));
  }
  if (!config.eos_token_ids.empty()) config.eos_token_id = config.eos_token_ids.front();
}

void ReadHeads(ConfigReader& keys, ModelConfig& config) {
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
                                          ", must be even and at least 2 (RoPE rotates pairs)");
  }
}

}  // namespace

const Json* ConfigReader::Find(Names names) {
  const Json* found = nullptr;
  const char* found_name = nullptr;
  for (const char* name : names) {
    const auto it = object_.find(name);
    if (it == object_.end() || it->is_null()) continue;
    if (found == nullptr) {
      found = &*it;
      found_name = name;
    } else if (*found != *it) {
      violations_.Add(name, "is " + ShownValue(*it) + ", which contradicts " + found_name + " = " +
                                ShownValue(*found));
    }
  }
  return found;
}

std::optional<int64_t> ConfigReader::OptionalInt(Names names, Range range) {
  const Json* value = Find(names);
  if (value == nullptr) return std::nullopt;
  const std::string rule =
      "an integer from " + std::to_string(range.min) + " to " + std::to_string(range.max);
  const bool fits =
      value->is_number_integer() &&
      !(value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(range.max)) &&
      value->get<int64_t>() >= range.min && value->get<int64_t>() <= range.max;
  if (fits) return value->get<int64_t>();
  Wrong(names, *value, rule);
  return std::nullopt;
}

int64_t ConfigReader::RequiredInt(Names names, Range range) {
  if (Find(names) == nullptr) violations_.Add(*names.begin(), "is missing");
  return OptionalInt(names, range).value_or(1);
}

bool ConfigReader::Bool(Names names, bool fallback) {
  const Json* value = Find(names);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  Wrong(names, *value, "true or false");
  return fallback;
}

double ConfigReader::PositiveNumber(Names names, double fallback) {
  const Json* value = Find(names);
  return value == nullptr ? fallback : Positive(*names.begin(), *value, fallback);
}

double ConfigReader::Positive(const char* name, const Json& value, double fallback) {
  if (value.is_number()) {
    const double number = value.get<double>();
    if (std::isfinite(number) && number > 0) return number;
  }
  Wrong({name}, value, "a positive number");
  return fallback;
}

void ConfigReader::MustBe(const char* name, const Json& only) {
  const Json* value = Find({name});
  if (value != nullptr && *value != only)
    Wrong({name}, *value, ShownValue(only) + " (others are not supported)");
}

void ConfigReader::Wrong(Names names, const Json& value, const std::string& rule) {
  violations_.Add(*names.begin(), "is " + ShownValue(value) + ", must be " + rule);
}

std::string ShownValue(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 64) text = text.substr(0, 61) + "...";
  return text;
}

void ReadCommon(ConfigReader& keys, ModelConfig& config) {
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

int64_t ReadLayerCount(ConfigReader& keys) {
  return keys.RequiredInt({"num_hidden_layers"}, {1, kDefaultLimits.layers});
}

double ReadRopeTheta(ConfigReader& keys, double fallback) {
  const Json* flat = keys.Find({"rope_theta", "theta"});
  double theta = flat == nullptr ? fallback : keys.Positive("rope_theta", *flat, fallback);
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    const Json* nested = keys.Find({name});
    if (nested == nullptr) continue;
    if (!nested->is_object()) {
      keys.Wrong({name}, *nested, "an object");
      continue;
    }
    ConfigReader inside(*nested, keys.violations());
    const Json* type = inside.Find({"rope_type", "type"});
    if (type != nullptr && *type != "default") {
      inside.Wrong({"rope_type"}, *type, "\"default\" (scaled RoPE is not supported)");
    }
    inside.MustBe("partial_rotary_factor", 1.0);
    const Json* value = inside.Find({"rope_theta"});
    if (value == nullptr) continue;
    if (flat != nullptr && *flat != *value) {
      keys.violations().Add("rope_theta", "is " + ShownValue(*flat) + ", which contradicts " +
                                              name + ".rope_theta = " + ShownValue(*value));
    }
    theta = inside.Positive("rope_theta", *value, fallback);
  }
  return theta;
}

int64_t ReadPositions(ConfigReader& keys, int64_t fallback) {
  return keys.OptionalInt({"max_position_embeddings"}, {1, kMaxPositions}).value_or(fallback);
}

std::optional<std::vector<bool>> ReadLayerTypes(ConfigReader& keys, int64_t layers,
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
      keys.violations().Add("layer_types", "[" + std::to_string(i) + "] is " + ShownValue(type) +
                                               ", must be \"" + attends + "\" or \"" + other +
                                               "\"");
    }
    out[i] = type == attends;
  }
  return out;
}

void PutRopeParameters(const ModelConfig& config, Json& out) {
  out["rope_parameters"] = {{"rope_theta", config.rope_theta}, {"rope_type", "default"}};
}

}  // namespace lfm2
