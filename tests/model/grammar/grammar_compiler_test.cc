#include "model/grammar/grammar_compiler.h"

#include "base/json.h"
#include "base/utf8.h"
#include "model/tokenizer/bytes.h"
#include "model/tokenizer/json/pattern.h"
#include "model/tokenizer/load_tokenizer.h"
#include "tests/model/grammar/support.h"

namespace lfm2 {
namespace {

using testing_support::Compile;
using testing_support::CompilerOf;
using testing_support::RandomText;
using testing_support::Text;

constexpr char kPerson[] = R"({"type": "object",
  "properties": {"name": {"type": "string", "maxLength": 8},
                 "age": {"type": "integer", "minimum": 0, "maximum": 120},
                 "tags": {"type": "array", "items": {"enum": ["a", "b", "\u00e9"]}, "maxItems": 3},
                 "mood": {"anyOf": [{"type": "null"}, {"type": "boolean"}]}},
  "required": ["name", "age", "mood"], "additionalProperties": false})";

std::shared_ptr<const Tokenizer> TinyTokenizer() {
  return LoadTokenizer(std::filesystem::path(LFM2_GOLDENS_DIR) / "lfm2-tiny").value();
}

std::string Problem(const Json& json) {
  if (!json.is_object()) return "no object";
  for (const auto& [key, value] : json.items()) {
    if (key != "name" && key != "age" && key != "tags" && key != "mood") return "unknown " + key;
  }
  if (!json.contains("name") || !json["name"].is_string()) return "name";
  if (!json.contains("age") || !json["age"].is_number_integer()) return "age";
  if (json["age"] < 0 || json["age"] > 120) return "age out of range";
  if (!json.contains("mood") || !(json["mood"].is_null() || json["mood"].is_boolean()))
    return "mood";
  if (!json.contains("tags")) return "";
  if (!json["tags"].is_array() || json["tags"].size() > 3) return "tags";
  for (const Json& tag : json["tags"]) {
    if (tag != "a" && tag != "b" && tag != "\u00e9") return "tag";
  }
  return "";
}

void ExpectPeople(const Tokenizer& tokenizer, int seeds) {
  const auto compiler = CompilerOf(tokenizer);
  const auto grammar = Compile(*compiler, GrammarKind::kJsonSchema, kPerson);
  ASSERT_TRUE(grammar.ok()) << grammar.status();
  int ended = 0;
  for (int seed = 0; seed < seeds; ++seed) {
    const Text text = RandomText(tokenizer, *grammar, static_cast<uint64_t>(seed));
    if (!text.ended) continue;
    ++ended;
    const auto json = ParseJson(text.text);
    ASSERT_TRUE(json.ok()) << json.status() << "\n" << text.text;
    EXPECT_EQ(Problem(*json), "") << text.text;
  }
  EXPECT_GT(ended, seeds * 9 / 10);
}

TEST(GrammarCompiler, RandomLogitsAlwaysWriteJsonOfTheSchemaWithBytes) {
  ExpectPeople(*MakeByteTokenizer(), 400);
}

TEST(GrammarCompiler, RandomLogitsAlwaysWriteJsonOfTheSchemaWithByteLevelBpe) {
  ExpectPeople(*TinyTokenizer(), 400);
}

TEST(GrammarCompiler, TextAlwaysMatchesTheRegularExpression) {
  const auto tokenizer = TinyTokenizer();
  const auto compiler = CompilerOf(*tokenizer);
  for (const std::string regex :
       {R"([a-z]{2,5}@[a-z]{1,4}\.(com|org))", R"(\d{4}-\d{2}-\d{2})", "(yes|no|maybe)?",
        "[\u00e0-\u00ff]{1,3}x", R"((\+|-)?[0-9]{1,3}(,[0-9]{3}){0,2})"}) {
    const auto grammar = Compile(*compiler, GrammarKind::kRegex, regex);
    ASSERT_TRUE(grammar.ok()) << grammar.status();
    const auto pattern = MakeRegex("\\A(?:" + regex + ")\\z", "test");
    ASSERT_TRUE(pattern.ok()) << pattern.status();
    for (uint64_t seed = 0; seed < 100; ++seed) {
      const Text text = RandomText(*tokenizer, *grammar, seed);
      ASSERT_TRUE(text.ended) << regex;
      ASSERT_TRUE(CheckUtf8(text.text).ok());
      EXPECT_FALSE((*pattern)->FindAll(text.text)->empty()) << regex << " <- " << text.text;
    }
  }
}

TEST(GrammarCompiler, FollowsAnEbnfGrammarWithRecursion) {
  const auto tokenizer = MakeByteTokenizer();
  const auto compiler = CompilerOf(*tokenizer);
  const auto grammar = Compile(*compiler, GrammarKind::kEbnf, "root ::= \"(\" root \")\" | \"x\"");
  ASSERT_TRUE(grammar.ok()) << grammar.status();
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Text text = RandomText(*tokenizer, *grammar, seed);
    ASSERT_TRUE(text.ended);
    const size_t depth = text.text.size() / 2;
    EXPECT_EQ(text.text, std::string(depth, '(') + "x" + std::string(depth, ')'));
  }
}

TEST(GrammarCompiler, ABadGrammarIsARefusalWithItsReason) {
  const auto compiler = CompilerOf(*MakeByteTokenizer());
  const std::string deep(100'000, '(');
  const struct {
    GrammarKind kind;
    std::string text;
  } bad[] = {
      {GrammarKind::kJsonSchema, ""},
      {GrammarKind::kJsonSchema, "{\"type\":"},
      {GrammarKind::kJsonSchema, "[1, 2]"},
      {GrammarKind::kJsonSchema, "{\"type\": \"nonsense\"}"},
      {GrammarKind::kJsonSchema, "{\"type\": \"string\", \"pattern\": \"((\"}"},
      {GrammarKind::kJsonSchema, "{\"$ref\": \"#/$defs/none\"}"},
      {GrammarKind::kJsonSchema, "{\"enum\": [\"\xff\"]}"},
      {GrammarKind::kRegex, "(((("},
      {GrammarKind::kRegex, "(a)\\1"},
      {GrammarKind::kRegex, "a(?!b)"},
      {GrammarKind::kRegex, std::string("a\0b", 3)},
      {GrammarKind::kRegex, deep},
      {GrammarKind::kRegex, std::string(65, '(') + "a" + std::string(65, ')')},
      {GrammarKind::kEbnf, "start ::= \"a\""},
      {GrammarKind::kEbnf, "root ::= missing"},
      {GrammarKind::kEbnf, "root ::= \"a"},
      {GrammarKind::kEbnf, "root ::= " + deep},
  };
  for (const auto& [kind, text] : bad) {
    const auto grammar = Compile(*compiler, kind, text);
    ASSERT_FALSE(grammar.ok()) << text.substr(0, 80);
    EXPECT_EQ(DetailsOf(grammar.status()).reason, Reason::kGrammarInvalid) << grammar.status();
    EXPECT_LT(grammar.status().message().size(), 400U);
    EXPECT_EQ(grammar.status().message().find("/project"), absl::string_view::npos)
        << grammar.status();
  }
}

TEST(GrammarCompiler, WhatNoTextCanFollowIsADeadEndAndNoCrash) {
  const auto compiler = CompilerOf(*MakeByteTokenizer());
  for (const std::string endless :
       {"root ::= root", "root ::= \"a\" | root", "root ::= root \"a\" | \"b\"",
        "root ::= root root | \"a\" | \"\""}) {
    const auto grammar = Compile(*compiler, GrammarKind::kEbnf, endless);
    if (!grammar.ok()) continue;
    const auto matcher = GrammarMatcher::Make(*grammar);
    ASSERT_TRUE(matcher.ok());
    const auto mask = (*matcher)->NextMask();
    if (mask.ok()) continue;
    EXPECT_EQ(DetailsOf(mask.status()).reason, Reason::kGrammarDeadEnd);
  }
  const auto cycle = Compile(*compiler, GrammarKind::kJsonSchema, "{\"$ref\": \"#\"}");
  ASSERT_TRUE(cycle.ok()) << cycle.status();
  const auto matcher = GrammarMatcher::Make(*cycle);
  EXPECT_EQ(DetailsOf((*matcher)->NextMask().status()).reason, Reason::kGrammarDeadEnd);
}

// JSON allows numbers that no double holds.
bool IsJson(const std::string& text) {
  const auto json = ParseJson(text);
  return json.ok() || json.status().message().find("syntax error") == absl::string_view::npos;
}

TEST(GrammarCompiler, TextIsJsonWhateverTheSchemaSaysAboutStrings) {
  const auto tokenizer = MakeByteTokenizer();
  const auto compiler = CompilerOf(*tokenizer);
  for (const char* schema :
       {"{}", "true", R"({"type": "string", "maxLength": 8})",
        R"({"type": "string", "minLength": 3})", R"({"type": "string", "pattern": "^.{1,5}$"})",
        R"({"type": "string", "pattern": "^[ -~]{2}$"})",
        R"({"type": "string", "format": "json-pointer"})", R"({"type": "object"})",
        R"({"enum": ["a\"b\n", 1.5, null, {"x": []}]})"}) {
    const auto grammar = Compile(*compiler, GrammarKind::kJsonSchema, schema);
    ASSERT_TRUE(grammar.ok()) << grammar.status();
    for (uint64_t seed = 0; seed < 60; ++seed) {
      const Text text = RandomText(*tokenizer, *grammar, seed, 200);
      EXPECT_TRUE(!text.ended || IsJson(text.text))
          << ParseJson(text.text).status() << schema << ": " << text.text;
    }
  }
}

TEST(GrammarCompiler, APatternThatNoJsonStringCanFollowIsADeadEnd) {
  const auto compiler = CompilerOf(*MakeByteTokenizer());
  const auto grammar =
      Compile(*compiler, GrammarKind::kJsonSchema, R"({"type": "string", "pattern": "^a\n$"})");
  ASSERT_TRUE(grammar.ok()) << grammar.status();
  const auto matcher = GrammarMatcher::Make(*grammar).value();
  ASSERT_TRUE(matcher->Accept('"').ok());
  ASSERT_TRUE(matcher->Accept('a').ok());
  EXPECT_EQ(DetailsOf(matcher->NextMask().status()).reason, Reason::kGrammarDeadEnd);
}

TEST(GrammarCompiler, TakesALimitOfBracketsAndBytesAndNoMore) {
  const GrammarSource most{GrammarKind::kRegex, std::string(64, '(') + "a" + std::string(64, ')')};
  EXPECT_TRUE(CheckGrammar(most, kDefaultLimits).ok());
  const GrammarSource longest{GrammarKind::kRegex, std::string(64 << 10, 'a')};
  EXPECT_TRUE(CheckGrammar(longest, kDefaultLimits).ok());
  const GrammarSource longer{GrammarKind::kRegex, std::string((64 << 10) + 1, 'a')};
  EXPECT_FALSE(CheckGrammar(longer, kDefaultLimits).ok());
  const GrammarSource quoted{GrammarKind::kEbnf, "root ::= \"" + std::string(100, '(') + "\""};
  EXPECT_TRUE(CheckGrammar(quoted, kDefaultLimits).ok());
}

}  // namespace
}  // namespace lfm2
