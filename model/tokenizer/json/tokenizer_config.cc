#include "model/tokenizer/json/tokenizer_config.h"

#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {
namespace {

constexpr char kConfigFile[] = "tokenizer_config.json";
constexpr char kSpecialsFile[] = "special_tokens_map.json";
constexpr char kTemplateFile[] = "chat_template.jinja";
constexpr int64_t kTemplateBytes = 1 << 20;

// A string, or an object whose "content" is the string.
absl::StatusOr<std::optional<std::string>> ReadToken(const JsonFields& fields,
                                                     std::string_view key) {
  const Json* value = fields.Find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  LFM2_ASSIGN_OR_RETURN(const JsonFields token,
                        JsonFields::Of(*value, fields.where() + "." + std::string(key)));
  LFM2_ASSIGN_OR_RETURN(std::string content, token.RequiredString("content"));
  return content;
}

absl::Status ReadTokens(const JsonFields& fields, TokenizerConfig& config) {
  LFM2_ASSIGN_OR_RETURN(const auto bos, ReadToken(fields, "bos_token"));
  LFM2_ASSIGN_OR_RETURN(const auto eos, ReadToken(fields, "eos_token"));
  LFM2_ASSIGN_OR_RETURN(const auto pad, ReadToken(fields, "pad_token"));
  if (!config.bos_token) config.bos_token = bos;
  if (!config.eos_token) config.eos_token = eos;
  if (!config.pad_token) config.pad_token = pad;
  return absl::OkStatus();
}

// A string, or a list of named templates of which "default" is used.
absl::StatusOr<std::string> ReadTemplate(const JsonFields& fields) {
  const Json* value = fields.Find("chat_template");
  if (value == nullptr) return std::string();
  if (!value->is_array()) return fields.String("chat_template", "");
  for (const Json& item : *value) {
    LFM2_ASSIGN_OR_RETURN(const JsonFields entry,
                          JsonFields::Of(item, fields.where() + ".chat_template"));
    LFM2_ASSIGN_OR_RETURN(const std::string name, entry.RequiredString("name"));
    if (name == "default") return entry.RequiredString("template");
  }
  return TokenizerError(fields.where(), "chat_template has no entry named \"default\"");
}

absl::StatusOr<Json> ParseNamed(std::string_view text, std::string_view where) {
  absl::StatusOr<Json> json = ParseJson(text);
  if (!json.ok()) return TokenizerError(where, std::string(json.status().message()));
  return json;
}

absl::StatusOr<std::optional<std::string>> ReadIfThere(const std::filesystem::path& path,
                                                       int64_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  LFM2_ASSIGN_OR_RETURN(std::string text, ReadFile(path, max_bytes));
  return text;
}

}  // namespace

absl::StatusOr<TokenizerConfig> TokenizerConfig::Parse(std::string_view json_text) {
  LFM2_ASSIGN_OR_RETURN(const Json json, ParseNamed(json_text, kConfigFile));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, kConfigFile));
  TokenizerConfig config;
  LFM2_RETURN_IF_ERROR(ReadTokens(fields, config));
  if (fields.Find("add_bos_token") != nullptr) {
    LFM2_ASSIGN_OR_RETURN(config.add_bos_token, fields.Bool("add_bos_token", false));
  }
  if (fields.Find("add_eos_token") != nullptr) {
    LFM2_ASSIGN_OR_RETURN(config.add_eos_token, fields.Bool("add_eos_token", false));
  }
  LFM2_ASSIGN_OR_RETURN(config.chat_template, ReadTemplate(fields));
  return config;
}

absl::StatusOr<TokenizerConfig> TokenizerConfig::Read(const std::filesystem::path& directory) {
  TokenizerConfig config;
  LFM2_ASSIGN_OR_RETURN(const auto text,
                        ReadIfThere(directory / kConfigFile, kDefaultLimits.json_bytes));
  if (text) {
    LFM2_ASSIGN_OR_RETURN(config, Parse(*text));
  }
  LFM2_ASSIGN_OR_RETURN(const auto specials,
                        ReadIfThere(directory / kSpecialsFile, kDefaultLimits.json_bytes));
  if (specials) {
    LFM2_ASSIGN_OR_RETURN(const Json json, ParseNamed(*specials, kSpecialsFile));
    LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, kSpecialsFile));
    LFM2_RETURN_IF_ERROR(ReadTokens(fields, config));
  }
  LFM2_ASSIGN_OR_RETURN(const auto chat_template,
                        ReadIfThere(directory / kTemplateFile, kTemplateBytes));
  if (chat_template) {
    if (!CheckUtf8(*chat_template).ok()) return TokenizerError(kTemplateFile, "is not valid UTF-8");
    config.chat_template = *chat_template;
  }
  return config;
}

}  // namespace lfm2
