#include "model/grammar/schema_check.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace lfm2 {
namespace {

using Words = std::span<const std::string_view>;

bool IsOneOf(std::string_view word, Words words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool HasAny(const Json& schema, Words words) {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return schema.contains(word); });
}

// In the library's order of precedence.
constexpr std::string_view kDeciding[] = {"$ref", "const", "enum", "anyOf", "oneOf", "allOf"};

// Together with kDeciding: all keywords that restrict a value in JSON Schema and that the library
// knows.
constexpr std::string_view kOfTypes[] = {"type",
                                         "minimum",
                                         "maximum",
                                         "exclusiveMinimum",
                                         "multipleOf",
                                         "pattern",
                                         "exclusiveMaximum",
                                         "minLength",
                                         "maxLength",
                                         "items",
                                         "prefixItems",
                                         "unevaluatedItems",
                                         "minItems",
                                         "maxItems",
                                         "properties",
                                         "patternProperties",
                                         "required",
                                         "propertyNames",
                                         "minProperties",
                                         "additionalProperties",
                                         "maxProperties",
                                         "unevaluatedProperties"};

constexpr std::string_view kNever[] = {
    "not",          "if",          "dependentRequired", "dependentSchemas", "dependencies",
    "contains",     "minContains", "maxContains",       "additionalItems",  "$dynamicRef",
    "$recursiveRef"};

// Formats that the library knows: with one of them it ignores all other keywords of the string.
constexpr std::string_view kFormats[] = {"email",         "date",
                                         "time",          "date-time",
                                         "duration",      "ipv4",
                                         "ipv6",          "hostname",
                                         "uuid",          "uri",
                                         "uri-reference", "uri-template",
                                         "json-pointer",  "relative-json-pointer"};

// A schema without a type describes an object or an array if it has one of these.
constexpr std::string_view kOfObjectsAndArrays[] = {
    "properties", "additionalProperties", "unevaluatedProperties",
    "items",      "prefixItems",          "unevaluatedItems"};

constexpr std::string_view kMapsOfSchemas[] = {"properties", "patternProperties", "$defs",
                                               "definitions"};
constexpr std::string_view kListsOfSchemas[] = {"prefixItems", "anyOf", "oneOf", "allOf"};
constexpr std::string_view kSchemas[] = {"items", "unevaluatedItems", "additionalProperties",
                                         "unevaluatedProperties"};

std::string TypeOf(const Json& value) {
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_null()) return "null";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  return value.is_number_integer() ? "integer" : "number";
}

// "integer" is a "number" too.
bool AllowsType(const Json& types, const std::string& type) {
  if (types.is_array()) {
    return std::any_of(types.begin(), types.end(),
                       [&](const Json& one) { return AllowsType(one, type); });
  }
  return types == type || (type == "integer" && types == "number");
}

// Whether the value of keyword `deciding` has only these types anyway, so that it does not matter
// that the library ignores `types`.
bool SaysTheSame(const Json& types, const std::string& deciding, const Json& value) {
  if (deciding == "const") return AllowsType(types, TypeOf(value));
  if (!value.is_array()) return false;
  if (deciding == "enum") {
    return std::all_of(value.begin(), value.end(),
                       [&](const Json& one) { return AllowsType(types, TypeOf(one)); });
  }
  return std::all_of(value.begin(), value.end(), [&](const Json& one) {
    return one.is_object() && one.contains("type") && one["type"].is_string() &&
           AllowsType(types, one["type"].get<std::string>());
  });
}

std::string Beside(const std::string& keyword, const std::string& other) {
  return absl::StrCat(keyword, " beside ", other, " is not enforced");
}

std::string CheckNumbers(const Json& schema) {
  if (!schema.contains("multipleOf")) return "";
  const Json& type = schema["type"];
  constexpr double kMost = 1024;
  const Json& of = schema["multipleOf"];
  if (AllowsType(type, "number")) return "multipleOf is enforced for type integer only";
  if (!of.is_number()) return "";
  const double value = of.get<double>();
  if (value != std::floor(value) || value > kMost) {
    return absl::StrCat("multipleOf is enforced for whole numbers up to ", kMost, " only");
  }
  for (const char* bound : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
    if (schema.contains(bound)) return Beside("multipleOf", bound);
  }
  return "";
}

std::string CheckStrings(const Json& schema) {
  const auto format = schema.find("format");
  const bool has_format = format != schema.end() && format->is_string() &&
                          IsOneOf(format->get<std::string>(), kFormats);
  if (has_format && schema.contains("pattern")) return Beside("pattern", "format");
  for (const char* length : {"minLength", "maxLength"}) {
    if (!schema.contains(length)) continue;
    if (has_format) return Beside(length, "format");
    if (schema.contains("pattern")) return Beside(length, "pattern");
  }
  return "";
}

std::string CheckRequired(const Json& schema) {
  if (!schema.contains("required") || !schema["required"].is_array()) return "";
  for (const Json& name : schema["required"]) {
    if (!name.is_string()) continue;
    if (!schema.contains("properties") || !schema["properties"].contains(name.get<std::string>())) {
      return "required is not enforced for what properties does not name";
    }
  }
  return "";
}

std::string CheckObjects(const Json& schema) {
  const bool has_patterns =
      schema.contains("patternProperties") && !schema["patternProperties"].empty();
  const bool has_names = schema.contains("propertyNames");
  const char* const keys = has_patterns ? "patternProperties" : "propertyNames";
  if (has_patterns && has_names) return Beside("propertyNames", "patternProperties");
  if (!has_patterns && !has_names) return CheckRequired(schema);
  for (const char* other :
       {"properties", "required", "additionalProperties", "unevaluatedProperties"}) {
    if (!schema.contains(other)) continue;
    const Json& value = schema[other];
    if (value == false || (value.is_array() && value.empty()) ||
        (value.is_object() && value.empty() && std::string_view(other) == "properties")) {
      continue;
    }
    return Beside(other, keys);
  }
  return "";
}

// Checks the keywords beside `by`, the keyword that decides.
std::string CheckDecided(const Json& schema, const std::string& by) {
  if (by == "$ref" && schema[by].is_string()) {
    const std::string uri = schema[by].get<std::string>();
    if (uri != "#" && !uri.starts_with("#/")) {
      return "$ref to \"" + uri.substr(0, 64) + "\" is not in the schema";
    }
  }
  for (const auto& [keyword, value] : schema.items()) {
    if (keyword == by || !(IsOneOf(keyword, kOfTypes) || IsOneOf(keyword, kDeciding))) continue;
    if (keyword == "type" && SaysTheSame(value, by, schema[by])) continue;
    return Beside(keyword, by);
  }
  return "";
}

std::string CheckWithoutType(const Json& schema) {
  if (HasAny(schema, kOfObjectsAndArrays)) return CheckObjects(schema);
  for (const auto& [keyword, value] : schema.items()) {
    if (IsOneOf(keyword, kOfTypes)) return keyword + " without type is not enforced";
  }
  return "";
}

// Checks `schema` itself, not the schemas inside it.
std::string CheckOne(const Json& schema) {
  for (const std::string_view keyword : kNever) {
    if (schema.contains(keyword)) return std::string(keyword) + " is not enforced";
  }
  if (schema.contains("uniqueItems") && schema["uniqueItems"] != false) {
    return "uniqueItems is not enforced";
  }
  if (schema.contains("allOf") && schema["allOf"].is_array() && schema["allOf"].size() != 1) {
    return "allOf with other than one schema is not enforced";
  }
  const auto deciding = std::find_if(std::begin(kDeciding), std::end(kDeciding),
                                     [&](std::string_view word) { return schema.contains(word); });
  if (deciding != std::end(kDeciding)) return CheckDecided(schema, std::string(*deciding));
  if (!schema.contains("type")) return CheckWithoutType(schema);
  std::string wrong = CheckNumbers(schema);
  if (wrong.empty() && AllowsType(schema["type"], "string")) wrong = CheckStrings(schema);
  if (wrong.empty() && AllowsType(schema["type"], "object")) wrong = CheckObjects(schema);
  return wrong;
}

std::string Check(const Json& schema, const std::string& at);

std::string CheckEach(const Json& schemas, const std::string& at) {
  for (const auto& [name, one] : schemas.items()) {
    std::string wrong =
        Check(one, absl::StrCat(at, "/", absl::StrReplaceAll(name, {{"~", "~0"}, {"/", "~1"}})));
    if (!wrong.empty()) return wrong;
  }
  return "";
}

// A property's name is always a string, even if its schema does not say so.
std::string CheckName(const Json& schema, const std::string& at) {
  if (!schema.is_object() || schema.contains("type") || HasAny(schema, kDeciding)) {
    return Check(schema, at);
  }
  Json of_strings = schema;
  of_strings["type"] = "string";
  return Check(of_strings, at);
}

std::string Check(const Json& schema, const std::string& at) {
  if (!schema.is_object()) return "";
  if (std::string wrong = CheckOne(schema); !wrong.empty()) return at + ": " + wrong;
  for (const auto& [keyword, value] : schema.items()) {
    const std::string inside = absl::StrCat(at, "/", keyword);
    std::string wrong;
    if (IsOneOf(keyword, kMapsOfSchemas)) {
      if (value.is_object()) wrong = CheckEach(value, inside);
    } else if (IsOneOf(keyword, kListsOfSchemas)) {
      if (value.is_array()) wrong = CheckEach(value, inside);
    } else if (keyword == "propertyNames") {
      wrong = CheckName(value, inside);
    } else if (IsOneOf(keyword, kSchemas)) {
      wrong = Check(value, inside);
    }
    if (!wrong.empty()) return wrong;
  }
  return "";
}

}  // namespace

std::string NotEnforced(const Json& schema) { return Check(schema, "#"); }

}  // namespace lfm2
