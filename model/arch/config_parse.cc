// ParseModelConfig: config.json to ModelConfig. Reports all violations together.
#include "base/errors.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/arch/config.h"
#include "model/arch/config_reader.h"
#include "model/arch/registry.h"

namespace lfm2 {
namespace {

// Common unsupported models, by a part of their model_type. The last match is used.
struct Stranger {
  const char* part;
  const char* what;
};
constexpr Stranger kStrangers[] = {
    {"", "is not supported"},
    {"moe", "is a mixture of experts, which is not supported"},
    {"vl", "is a vision model, which is not supported"},
    {"audio", "is an audio model, which is not supported"},
    {"lfm3", "is LFM3, which is not supported"},
};

absl::StatusOr<const ArchSpec*> SpecOfModelType(const Json& root) {
  const auto it = root.find("model_type");
  if (it == root.end() || !it->is_string()) {
    return Error(Reason::kConfigInvalid,
                 "model_type is missing; it must be " + QuotedList(&ArchSpec::model_type, "or"),
                 {{"key", "model_type"}});
  }
  const std::string type = it->get<std::string>();
  for (const ArchSpec* spec : AllArchitectures()) {
    if (type == spec->model_type) return spec;
  }
  std::string what;
  for (const Stranger& stranger : kStrangers) {
    if (type.find(stranger.part) != std::string::npos) what = stranger.what;
  }
  return Error(Reason::kConfigInvalid,
               "model_type " + ShownValue(*it) + " " + what + "; " +
                   QuotedList(&ArchSpec::model_type, "and") + " are",
               {{"key", "model_type"}, {"value", type.substr(0, 64)}});
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json_text) {
  absl::StatusOr<Json> root = ParseJson(json_text);
  if (!root.ok()) {
    return Error(Reason::kConfigInvalid, "config.json: " + std::string(root.status().message()));
  }
  if (!root->is_object()) return Error(Reason::kConfigInvalid, "config.json is not an object");
  LFM2_ASSIGN_OR_RETURN(const ArchSpec* spec, SpecOfModelType(*root));
  Violations violations;
  ConfigReader keys(*root, violations);
  ModelConfig config;
  config.architecture = spec->id;
  config.qk_norm = spec->qk_norm;
  spec->read(keys, config);
  LFM2_RETURN_IF_ERROR(violations.ToStatus(Reason::kConfigInvalid));
  return config;
}

}  // namespace lfm2
