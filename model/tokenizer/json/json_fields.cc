#include "model/tokenizer/json/json_fields.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {

absl::Status TokenizerError(std::string_view where, std::string_view rule) {
  return Error(Reason::kTokenizerInvalid, std::string(where) + ": " + std::string(rule),
               {{"part", std::string(where)}});
}

std::string Shortened(std::string_view text) {
  constexpr size_t kLongest = 64;
  if (text.size() <= kLongest) return std::string(text);
  size_t end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

absl::StatusOr<JsonFields> JsonFields::Of(const Json& json, std::string_view where) {
  if (!json.is_object()) return TokenizerError(where, "must be a JSON object");
  return JsonFields(json, where);
}

absl::Status JsonFields::Wrong(std::string_view key, std::string_view rule) const {
  return TokenizerError(where_, std::string(key) + " " + std::string(rule));
}

const Json* JsonFields::Find(std::string_view key) const {
  const auto it = json_->find(std::string(key));
  if (it == json_->end() || it->is_null()) return nullptr;
  return &*it;
}

absl::StatusOr<bool> JsonFields::Bool(std::string_view key, bool absent) const {
  const Json* value = Find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) return Wrong(key, "must be true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::String(std::string_view key,
                                               std::string_view absent) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::string(absent);
  if (!value->is_string()) return Wrong(key, "must be a string");
  return value->get<std::string>();
}

absl::StatusOr<std::string> JsonFields::RequiredString(std::string_view key) const {
  if (Find(key) == nullptr) return Wrong(key, "is missing");
  return String(key, "");
}

absl::StatusOr<int64_t> JsonFields::RequiredInt(std::string_view key, int64_t lowest,
                                                int64_t highest) const {
  const Json* value = Find(key);
  if (value == nullptr) return Wrong(key, "is missing");
  const bool fits =
      value->is_number_integer() &&
      (!value->is_number_unsigned() || value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  if (!fits || value->get<int64_t>() < lowest || value->get<int64_t>() > highest) {
    return Wrong(key, absl::StrCat("must be a whole number from ", lowest, " to ", highest));
  }
  return value->get<int64_t>();
}

absl::StatusOr<const Json*> JsonFields::RequiredArray(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr || !value->is_array()) return Wrong(key, "must be an array");
  return value;
}

absl::StatusOr<const Json*> JsonFields::RequiredObject(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr || !value->is_object()) return Wrong(key, "must be an object");
  return value;
}

absl::Status JsonFields::OnlyKeys(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, value] : json_->items()) {
    if (std::find(known.begin(), known.end(), std::string_view(key)) == known.end()) {
      return Wrong("key \"" + Shortened(key) + "\"", "is not known");
    }
  }
  return absl::OkStatus();
}

}  // namespace lfm2
