#include "model/tokenizer/json/post_processor.h"

#include <map>
#include <string>

#include "base/limits.h"
#include "base/status_macros.h"
#include "model/tokenizer/json/json_fields.h"

namespace lfm2 {
namespace {

using IdsByName = std::map<std::string, std::vector<int32_t>, std::less<>>;
constexpr int kDeepest = 8;

bool IsTokenId(const Json& json) {
  return json.is_number_unsigned() &&
         json.get<uint64_t>() < static_cast<uint64_t>(kDefaultLimits.vocab_size);
}

absl::StatusOr<IdsByName> ReadSpecialTokens(const JsonFields& fields) {
  LFM2_ASSIGN_OR_RETURN(const Json* object, fields.RequiredObject("special_tokens"));
  IdsByName by_name;
  for (const auto& [name, json] : object->items()) {
    LFM2_ASSIGN_OR_RETURN(const JsonFields entry,
                          JsonFields::Of(json, fields.where() + ".special_tokens"));
    LFM2_RETURN_IF_ERROR(entry.OnlyKeys({"id", "ids", "tokens"}));
    LFM2_ASSIGN_OR_RETURN(const Json* ids, entry.RequiredArray("ids"));
    for (const Json& id : *ids) {
      if (!IsTokenId(id)) return TokenizerError(entry.where(), "ids must be token ids");
      by_name[name].push_back(id.get<int32_t>());
    }
  }
  return by_name;
}

// {"SpecialToken": {"id": name}} or {"Sequence": {"id": "A"}}.
absl::Status ReadTemplateItem(const Json& json, const IdsByName& specials, bool& seen_text,
                              PostProcessor& out) {
  const std::string where = "post_processor.TemplateProcessing.single";
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(json, where));
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"SpecialToken", "Sequence"}));
  const bool is_text = fields.Find("Sequence") != nullptr;
  if (json.size() != 1)
    return TokenizerError(where, "an item must be one of SpecialToken and Sequence");
  LFM2_ASSIGN_OR_RETURN(const Json* body,
                        fields.RequiredObject(is_text ? "Sequence" : "SpecialToken"));
  LFM2_ASSIGN_OR_RETURN(const JsonFields item, JsonFields::Of(*body, where));
  LFM2_ASSIGN_OR_RETURN(const std::string name, item.RequiredString("id"));
  if (is_text) {
    if (name != "A" || seen_text)
      return TokenizerError(where, "must hold sequence A once, and no other");
    seen_text = true;
    return absl::OkStatus();
  }
  const auto it = specials.find(name);
  if (it == specials.end())
    return TokenizerError(where, "\"" + Shortened(name) + "\" is not in special_tokens");
  std::vector<int32_t>& ids = seen_text ? out.after : out.before;
  ids.insert(ids.end(), it->second.begin(), it->second.end());
  return absl::OkStatus();
}

absl::StatusOr<PostProcessor> ParseTemplate(const JsonFields& fields) {
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "single", "pair", "special_tokens"}));
  LFM2_ASSIGN_OR_RETURN(const IdsByName specials, ReadSpecialTokens(fields));
  LFM2_ASSIGN_OR_RETURN(const Json* single, fields.RequiredArray("single"));
  PostProcessor out;
  out.says_specials = true;
  bool seen_text = false;
  for (const Json& item : *single)
    LFM2_RETURN_IF_ERROR(ReadTemplateItem(item, specials, seen_text, out));
  if (!seen_text)
    return TokenizerError(fields.where() + ".single", "must hold sequence A once, and no other");
  return out;
}

absl::StatusOr<int32_t> ReadPair(const JsonFields& fields, std::string_view key) {
  LFM2_ASSIGN_OR_RETURN(const Json* pair, fields.RequiredArray(key));
  if (pair->size() != 2 || !(*pair)[0].is_string() || !IsTokenId((*pair)[1])) {
    return TokenizerError(fields.where(), std::string(key) + " must be a token and its id");
  }
  return (*pair)[1].get<int32_t>();
}

absl::StatusOr<PostProcessor> ParseClsSep(const JsonFields& fields) {
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "sep", "cls", "trim_offsets", "add_prefix_space"}));
  PostProcessor out;
  out.says_specials = true;
  LFM2_ASSIGN_OR_RETURN(const int32_t cls, ReadPair(fields, "cls"));
  LFM2_ASSIGN_OR_RETURN(const int32_t sep, ReadPair(fields, "sep"));
  out.before = {cls};
  out.after = {sep};
  return out;
}

absl::StatusOr<PostProcessor> Parse(const Json& json, int depth) {
  LFM2_ASSIGN_OR_RETURN(const JsonFields outer, JsonFields::Of(json, "post_processor"));
  LFM2_ASSIGN_OR_RETURN(const std::string type, outer.RequiredString("type"));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(json, "post_processor." + Shortened(type)));
  if (type == "TemplateProcessing") return ParseTemplate(fields);
  if (type == "BertProcessing" || type == "RobertaProcessing") return ParseClsSep(fields);
  if (type == "ByteLevel") {
    LFM2_RETURN_IF_ERROR(
        fields.OnlyKeys({"type", "add_prefix_space", "use_regex", "trim_offsets"}));
    return PostProcessor{};
  }
  if (type != "Sequence")
    return TokenizerError("post_processor", "type \"" + Shortened(type) + "\" is not supported");
  LFM2_RETURN_IF_ERROR(fields.OnlyKeys({"type", "processors"}));
  LFM2_ASSIGN_OR_RETURN(const Json* list, fields.RequiredArray("processors"));
  if (depth == kDeepest) return TokenizerError(fields.where(), "is nested too deep");
  PostProcessor out;
  for (const Json& item : *list) {
    LFM2_ASSIGN_OR_RETURN(const PostProcessor part, Parse(item, depth + 1));
    out.says_specials |= part.says_specials;
    out.before.insert(out.before.begin(), part.before.begin(), part.before.end());
    out.after.insert(out.after.end(), part.after.begin(), part.after.end());
  }
  return out;
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::FromJson(const Json* json) {
  if (json == nullptr) return PostProcessor{};
  return Parse(*json, 0);
}

}  // namespace lfm2
