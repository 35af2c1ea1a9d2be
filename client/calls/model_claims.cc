#include "client/calls/model_claims.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "absl/strings/str_format.h"
#include "base/file_kinds.h"
#include "base/status_macros.h"
#include "client/calls/upload.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/flags/source.h"

namespace lfm2 {
namespace {

// The value of the first of `keys` that the config has; "a.b" means b inside a.
std::optional<Json> Find(const Json& config, std::initializer_list<const char*> keys) {
  for (const std::string key : keys) {
    const size_t dot = key.find('.');
    const std::string head = key.substr(0, dot);
    if (!config.contains(head)) continue;
    if (dot == std::string::npos) return config[head];
    if (config[head].is_object() && config[head].contains(key.substr(dot + 1))) {
      return config[head][key.substr(dot + 1)];
    }
  }
  return std::nullopt;
}

class Comparison {
 public:
  explicit Comparison(const Json& config) : config_(config) {}

  void Integer(bool given, const char* flag, int64_t value,
               std::initializer_list<const char*> keys) {
    if (!given) return;
    const std::optional<Json> found = Find(config_, keys);
    const bool equal = found && found->is_number_integer() && found->get<int64_t>() == value;
    if (!equal) Add(flag, std::to_string(value), found);
  }
  void Number(bool given, const char* flag, double value, std::initializer_list<const char*> keys) {
    if (!given) return;
    const std::optional<Json> found = Find(config_, keys);
    if (!found || !found->is_number() || found->get<double>() != value) {
      Add(flag, absl::StrFormat("%.9g", value), found);
    }
  }
  void Switch(bool given, const char* flag, bool value, bool absent,
              std::initializer_list<const char*> keys) {
    if (!given) return;
    const Json found = Find(config_, keys).value_or(Json(absent));
    if (found != Json(value)) Add(flag, value ? "true" : "false", found);
  }
  void Text(bool given, const char* flag, const std::string& value, const std::string& model) {
    if (given && value != model) AddText(flag, value, model);
  }
  // The flag describes a list of layers: layer i has attention when (i + 1) % every == 0.
  void AttentionEvery(bool given, int64_t every) {
    if (!given) return;
    const std::optional<Json> types = Find(config_, {"layer_types"});
    if (!types || !types->is_array()) return Integer(true, "attn_every", every, {"attn_every"});
    int64_t index = 0;
    for (const Json& type : *types) {
      ++index;
      const bool attends =
          type.is_string() && type.get<std::string>().find("attention") != std::string::npos;
      if (attends != (every > 0 && index % every == 0))
        return Add("attn_every", std::to_string(every), types);
    }
  }
  absl::Status ToStatus() const {
    if (violations_.empty()) return absl::OkStatus();
    ErrorDetails details;
    details.reason = Reason::kFlagContradictsModel;
    details.violations = violations_;
    std::string message;
    for (const FieldViolation& violation : violations_) {
      message += (message.empty() ? "--" : "; --") + violation.field + " " + violation.description;
    }
    return WithDetails(message, details);
  }

 private:
  void Add(const char* flag, const std::string& value, const std::optional<Json>& found) {
    AddText(flag, value, found ? DumpJson(*found) : "none");
  }
  void AddText(const char* flag, const std::string& value, const std::string& model) {
    violations_.push_back({flag, "is " + value + ", the model has " + model});
  }

  const Json& config_;
  std::vector<FieldViolation> violations_;
};

// SHA-256 of the file that a local tokenizer is read from.
absl::StatusOr<std::string> LocalTokenizerHash(const ResolvedSource& source) {
  if (source.files.empty()) return Error(Reason::kFileNotFound, "no tokenizer file");
  const LocalFile* chosen = &source.files.front();
  for (size_t i = kTokenizerFiles.size(); i-- > 0;) {
    for (const LocalFile& file : source.files) {
      if (file.name == kTokenizerFiles[i]) chosen = &file;
    }
  }
  return HashOf(*chosen);
}

absl::StatusOr<v1::Model> GetModel(Session& session, const std::string& name) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::GetModelRequest request;
  if (!name.empty()) request.mutable_model()->set_name(name);
  return client->Call(client->models(), &v1::Models::Stub::GetModel, request);
}

absl::Status CheckTokenizer(Session& session, const std::string& text, const v1::Model& model) {
  LFM2_ASSIGN_OR_RETURN(const ResolvedSource source,
                        ResolveSource(text, SourcePurpose::kTokenizer));
  std::string kind = model.tokenizer_kind(), hash = model.tokenizer_sha256();
  if (source.kind == ResolvedSource::Kind::kBytes) {
    kind = "bytes";
    if (model.tokenizer_kind() == kind) return absl::OkStatus();
  } else if (source.kind == ResolvedSource::Kind::kFiles) {
    LFM2_ASSIGN_OR_RETURN(hash, LocalTokenizerHash(source));
  } else {
    const bool hf = source.kind == ResolvedSource::Kind::kHf;
    LFM2_ASSIGN_OR_RETURN(const v1::Model other,
                          GetModel(session, (hf ? "hf:" : "") + source.name));
    hash = other.tokenizer_sha256();
    kind = other.tokenizer_kind();
  }
  if (source.kind != ResolvedSource::Kind::kBytes && hash == model.tokenizer_sha256())
    return absl::OkStatus();
  const auto describe = [](const std::string& k, const std::string& h) {
    return k + (h.empty() ? "" : " sha256:" + h.substr(0, 12));
  };
  const std::string given = source.kind == ResolvedSource::Kind::kBytes
                                ? "bytes"
                                : text + " (" + describe(kind, hash) + ")";
  ErrorDetails details;
  details.reason = Reason::kFlagContradictsModel;
  const std::string description = "is " + given + ", the model has " +
                                  describe(model.tokenizer_kind(), model.tokenizer_sha256());
  details.violations.push_back({"tokenizer", description});
  return WithDetails("--tokenizer " + description, details);
}

}  // namespace

void AddClaimFlags(CLI::App& app, ModelClaims& claims) {
  TextFlag(
      app, "--tokenizer,--hf_tokenizer",
      std::string("The model's tokenizer; for a stored model it must be the same one: bytes, or ") +
          kSourceHelp,
      [&claims](const std::string& v) { claims.tokenizer = v; });
  AddShapeFlags(app, claims.shape);
}

absl::Status CheckShape(const v1::ModelShape& shape, const v1::Model& model) {
  if (shape.ByteSizeLong() == 0) return absl::OkStatus();
  const Json config = Json::parse(model.config_json(), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    return Error(Reason::kInternal, "the server did not send config.json of model " + model.name());
  }
  Comparison compare(config);
  compare.Text(shape.has_architecture(), "arch", shape.architecture(), model.architecture());
  compare.Integer(shape.has_vocab_size(), "vocab_size", shape.vocab_size(), {"vocab_size"});
  compare.Integer(shape.has_d_model(), "d_model", shape.d_model(), {"hidden_size"});
  compare.Integer(shape.has_n_layers(), "n_layers", shape.n_layers(), {"num_hidden_layers"});
  compare.Integer(shape.has_n_heads(), "n_heads", shape.n_heads(), {"num_attention_heads"});
  compare.Integer(shape.has_n_kv_heads(), "n_kv_heads", shape.n_kv_heads(),
                  {"num_key_value_heads"});
  compare.Integer(shape.has_intermediate_size(), "intermediate_size", shape.intermediate_size(),
                  {"intermediate_size"});
  compare.Integer(shape.has_ssm_state_size(), "ssm_state_size", shape.ssm_state_size(),
                  {"ssm_state_size"});
  compare.AttentionEvery(shape.has_attn_every(), shape.attn_every());
  compare.Integer(shape.has_conv_kernel(), "conv_kernel", shape.conv_kernel(), {"conv_L_cache"});
  compare.Switch(shape.has_parallel_residual(), "parallel_residual", shape.parallel_residual(),
                 false, {"parallel_residual"});
  compare.Switch(shape.has_tie_word_embeddings(), "tie_word_embeddings",
                 shape.tie_word_embeddings(), true, {"tie_word_embeddings", "tie_embedding"});
  compare.Number(shape.has_rope_theta(), "rope_theta", shape.rope_theta(),
                 {"rope_theta", "rope_parameters.rope_theta"});
  compare.Number(shape.has_norm_eps(), "norm_eps", shape.norm_eps(),
                 {"norm_eps", "block_norm_eps"});
  return compare.ToStatus();
}

absl::Status CheckClaims(Session& session, const v1::ModelRef& model, const ModelClaims& claims) {
  if (claims.empty()) return absl::OkStatus();
  LFM2_ASSIGN_OR_RETURN(const v1::Model stored, GetModel(session, model.name()));
  LFM2_RETURN_IF_ERROR(CheckShape(claims.shape, stored));
  return claims.tokenizer.empty() ? absl::OkStatus()
                                  : CheckTokenizer(session, claims.tokenizer, stored);
}

}  // namespace lfm2
