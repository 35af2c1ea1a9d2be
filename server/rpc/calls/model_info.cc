#include "server/rpc/calls/model_info.h"

#include "base/log.h"
#include "base/status_macros.h"
#include "model/arch/config.h"
#include "model/arch/model_folder.h"

namespace lfm2 {
namespace {

v1::Model ManifestInfo(const ModelVersion& version, ServiceCore& core) {
  v1::Model out;
  out.set_name(version.name);
  out.set_version(version.version);
  out.set_tokenizer_kind(version.manifest.tokenizer_kind);
  out.set_tokenizer_sha256(version.manifest.tokenizer_sha256);
  out.set_created_at_ms(version.manifest.created_at_ms);
  out.set_made_from(version.manifest.made_from);
  out.set_job_id(version.manifest.job_id);
  if (const auto loaded = core.context.models.Find(version.name, version.version)) {
    out.set_loaded(true);
    out.set_dtype(loaded->dtype);
    out.set_device(loaded->device);
  }
  return out;
}

void AddConfig(const ModelConfig& config, v1::Model& out) {
  out.set_architecture(NameOf(config.architecture));
  out.set_parameters(config.ParameterCount());
  out.set_context_length(config.max_position_embeddings);
  out.set_vocab_size(config.vocab_size);
  out.set_layers(config.num_layers());
}

}  // namespace

v1::Model BriefModelInfo(const ModelVersion& version, ServiceCore& core) {
  v1::Model out = ManifestInfo(version, core);
  const absl::StatusOr<ModelConfig> config = ReadModelConfig(version.directory);
  if (config.ok()) {
    AddConfig(*config, out);
  } else {
    Log(LogLevel::kWarning, "a listed model's config cannot be read",
        {{"model", version.name}, {"error", std::string(config.status().message())}});
  }
  return out;
}

absl::StatusOr<v1::Model> FullModelInfo(const ModelVersion& version, ServiceCore& core) {
  v1::Model out = ManifestInfo(version, core);
  LFM2_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(version.directory));
  AddConfig(config, out);
  out.set_config_json(ModelConfigToJson(config));
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                        core.tokenizers.Get(version));
  out.set_tokenizer_kind(tokenizer->kind());
  out.set_tokenizer_sha256(tokenizer->sha256());
  if (version.name.starts_with("hf:")) return out;
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> versions,
                        core.context.model_store.Versions(version.name));
  out.mutable_versions()->Assign(versions.begin(), versions.end());
  return out;
}

}  // namespace lfm2
