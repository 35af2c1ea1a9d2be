// Reads untrusted JSON with limits on bytes and depth. Duplicate keys are refused, because parsers
// disagree on which one counts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/limits.h"

namespace lfm2 {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  int64_t bytes = kDefaultLimits.json_bytes;
  int64_t depth = kDefaultLimits.json_depth;
};

// kInvalidArgument with the byte offset and the rule broken. Never throws.
absl::StatusOr<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// As Python's json.dumps writes it, and Jinja's tojson: a space after every comma and colon.
std::string SpacedJson(const Json& json);

}  // namespace lfm2
