#include "model/grammar/schema_check.h"

#include "model/tokenizer/bytes.h"
#include "tests/model/grammar/support.h"

namespace lfm2 {
namespace {

using testing_support::CompilerOf;

std::string Wrong(const std::string& schema) {
  const auto json = ParseJson(schema);
  EXPECT_TRUE(json.ok()) << schema;
  return NotEnforced(*json);
}

TEST(NotEnforced, NamesTheFirstPartThatTheLibraryPassesOver) {
  const struct {
    const char *schema, *wrong;
  } cases[] = {
      {R"({"not": {"type": "null"}})", "#: not is not enforced"},
      {R"({"if": {}, "then": {}})", "#: if is not enforced"},
      {R"({"type": "array", "uniqueItems": true})", "#: uniqueItems is not enforced"},
      {R"({"type": "array", "items": {"type": "array", "contains": {}}})",
       "#/items: contains is not enforced"},
      {R"({"type": "object", "properties": {"a/b": {"type": "object", "dependentRequired": {}}}})",
       "#/properties/a~1b: dependentRequired is not enforced"},
      {R"({"allOf": [{"type": "object"}, {"type": "object"}]})",
       "#: allOf with other than one schema is not enforced"},
      {R"({"$ref": "https://example.com/schema"})",
       "#: $ref to \"https://example.com/schema\" is not in the schema"},
      {R"({"$ref": "#/$defs/a", "maxLength": 3, "$defs": {"a": {"type": "string"}}})",
       "#: maxLength beside $ref is not enforced"},
      {R"({"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]})",
       "#: properties beside anyOf is not enforced"},
      {R"({"type": "string", "anyOf": [{"type": "string"}, {"type": "null"}]})",
       "#: type beside anyOf is not enforced"},
      {R"({"type": "string", "enum": ["a", 1]})", "#: type beside enum is not enforced"},
      {R"({"minLength": 3})", "#: minLength without type is not enforced"},
      {R"({"anyOf": [{"type": "null"}, {"required": ["a"]}]})",
       "#/anyOf/1: required without type is not enforced"},
      {R"({"type": "number", "multipleOf": 0.5})",
       "#: multipleOf is enforced for type integer only"},
      {R"({"type": "integer", "multipleOf": 1.5})",
       "#: multipleOf is enforced for whole numbers up to 1024 only"},
      {R"({"type": "integer", "multipleOf": 5, "minimum": 1})",
       "#: multipleOf beside minimum is not enforced"},
      {R"({"type": "string", "pattern": "^a+$", "maxLength": 8})",
       "#: maxLength beside pattern is not enforced"},
      {R"({"type": ["null", "string"], "format": "date", "minLength": 8})",
       "#: minLength beside format is not enforced"},
      {R"({"type": "object", "required": ["a"]})",
       "#: required is not enforced for what properties does not name"},
      {R"({"type": "object", "properties": {"a": {}}, "required": ["a", "b"]})",
       "#: required is not enforced for what properties does not name"},
      {R"({"type": "object", "patternProperties": {"^x": {}}, "required": ["x1"]})",
       "#: required beside patternProperties is not enforced"},
      {R"({"type": "object", "propertyNames": {"minLength": 2, "pattern": "a"}})",
       "#/propertyNames: minLength beside pattern is not enforced"},
      {R"({"$defs": {"a": {"additionalProperties": {"not": {}}}}})",
       "#/$defs/a/additionalProperties: not is not enforced"},
  };
  for (const auto& one : cases) EXPECT_EQ(Wrong(one.schema), one.wrong) << one.schema;
}

// What passes is held to: the first text is of the schema, the second is not.
TEST(NotEnforced, PassesOnlyWhatIsHeldTo) {
  const struct {
    const char *schema, *good, *bad;
  } cases[] = {
      {R"({"type": "string", "enum": ["a", "b"]})", R"("b")", R"("c")"},
      {R"({"const": {"k": [1]}, "type": "object", "title": "T"})", R"({"k":[1]})", R"({"k":[2]})"},
      {R"({"type": "object", "anyOf": [{"type": "object", "properties": {"a": {"const": 1}},
          "required": ["a"]}]})",
       R"({"a":1})", R"({})"},
      {R"({"allOf": [{"$ref": "#/$defs/s"}], "description": "D", "$defs":
          {"s": {"type": "string", "maxLength": 2}}})",
       R"("ab")", R"("abc")"},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})", R"("ab")", R"("a")"},
      {R"({"type": "string", "pattern": "^a+$"})", R"("aa")", R"("ab")"},
      {R"({"type": "string", "format": "date"})", R"("2026-11-27")", R"("today")"},
      {R"({"type": "string", "format": "password", "maxLength": 2})", R"("ab")", R"("abc")"},
      {R"({"type": "integer", "multipleOf": 5})", "15", "16"},
      {R"({"type": "integer", "minimum": 3, "exclusiveMaximum": 12})", "11", "12"},
      {R"({"type": "number", "minimum": -1.5, "maximum": 2})", "-1.5", "2.5"},
      {R"({"type": ["integer", "null"], "minimum": 3})", "null", "2"},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2})", "[1,2]",
       "[1,2,3]"},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}],
          "items": false})",
       "[1,null]", "[1,1]"},
      {R"({"prefixItems": [{"type": "integer"}], "items": {"type": "null"}})", "[1,null]", "[1,1]"},
      {R"({"type": "object", "properties": {"a": {"type": "null"}, "b": {}}, "required": ["b"]})",
       R"({"a":null,"b":1})", R"({"a":null})"},
      {R"({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}})",
       R"({"a":null,"b":1})", R"({"a":null,"b":null})"},
      {R"({"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1,
          "maxProperties": 1})",
       R"({"b":1})", R"({})"},
      {R"({"type": "object", "patternProperties": {"^x[0-9]$": {"type": "null"}},
          "additionalProperties": false})",
       R"({"x1":null})", R"({"y1":null})"},
      {R"({"type": "object", "propertyNames": {"pattern": "^k+$"}})", R"({"kk":1})", R"({"ka":1})"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "null"}]})", "7", "true"},
  };
  const auto tokenizer = MakeByteTokenizer();
  const auto compiler = CompilerOf(*tokenizer);
  for (const auto& one : cases) {
    ASSERT_EQ(Wrong(one.schema), "") << one.schema;
    const auto grammar = testing_support::Compile(*compiler, GrammarKind::kJsonSchema, one.schema);
    ASSERT_TRUE(grammar.ok()) << grammar.status() << one.schema;
    const auto is_of_it = [&](const std::string& text) {
      const auto matcher = GrammarMatcher::Make(*grammar);
      EXPECT_TRUE(matcher.ok());
      for (const char byte : text) {
        const auto mask = (*matcher)->NextMask();
        if (!mask.ok() || !IsAllowed(**mask, static_cast<unsigned char>(byte))) return false;
        EXPECT_TRUE((*matcher)->Accept(static_cast<unsigned char>(byte)).ok());
      }
      return (*matcher)->complete();
    };
    EXPECT_TRUE(is_of_it(one.good)) << one.schema << one.good;
    EXPECT_FALSE(is_of_it(one.bad)) << one.schema << one.bad;
  }
}

TEST(NotEnforced, IsAskedAtTheDoor) {
  const absl::Status status = CheckGrammar(
      {GrammarKind::kJsonSchema, R"({"type": "array", "uniqueItems": true})"}, kDefaultLimits);
  EXPECT_EQ(DetailsOf(status).reason, Reason::kGrammarInvalid);
  EXPECT_EQ(status.message(), "json_schema cannot be enforced: #: uniqueItems is not enforced");
}

}  // namespace
}  // namespace lfm2
