// Reads a JSON object with typed fields. Every key must be known: a key that was not read is an
// error, never skipped. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/json.h"

namespace lfm2 {

// kTokenizerInvalid: "<where>: <rule>".
absl::Status TokenizerError(std::string_view where, std::string_view rule);

// At most 64 bytes of `text`, for messages.
std::string Shortened(std::string_view text);

class JsonFields {
 public:
  // `where` names the object in messages, e.g. "pre_tokenizer.Split". `json` must outlive this.
  static absl::StatusOr<JsonFields> Of(const Json& json, std::string_view where);

  // Each returns `absent` when the key is missing or null; kTokenizerInvalid when it has another
  // type.
  absl::StatusOr<bool> Bool(std::string_view key, bool absent) const;
  absl::StatusOr<std::string> String(std::string_view key, std::string_view absent) const;
  // For these, a missing key is an error.
  absl::StatusOr<std::string> RequiredString(std::string_view key) const;
  absl::StatusOr<int64_t> RequiredInt(std::string_view key, int64_t lowest, int64_t highest) const;
  absl::StatusOr<const Json*> RequiredArray(std::string_view key) const;
  absl::StatusOr<const Json*> RequiredObject(std::string_view key) const;

  const Json* Find(std::string_view key) const;  // nullptr when missing or null
  absl::Status OnlyKeys(std::initializer_list<std::string_view> known) const;
  const std::string& where() const { return where_; }

 private:
  JsonFields(const Json& json, std::string_view where) : json_(&json), where_(where) {}
  absl::Status Wrong(std::string_view key, std::string_view rule) const;

  const Json* json_;
  std::string where_;
};

}  // namespace lfm2
