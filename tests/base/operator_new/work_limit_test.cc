#include "base/operator_new/work_limit.h"

#include "model/tokenizer/bytes.h"
#include "tests/model/grammar/support.h"

namespace lfm2 {
namespace {

using testing_support::CompilerOf;

std::string Repeated(const std::string& part, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += part;
  return out;
}

// Minutes and gigabytes, if they were let.
const GrammarSource kHostile[] = {
    {GrammarKind::kRegex, Repeated("((a|b|cd)*x?)", 3000)},
    {GrammarKind::kRegex, Repeated("(ab)?", 12'000)},
    {GrammarKind::kRegex, Repeated("(a|)", 16'000)},
    {GrammarKind::kRegex, Repeated(".*a", 15'000)},
    {GrammarKind::kEbnf, "root ::= " + Repeated("[a-z]* ", 9000)},
};

TEST(WorkLimit, EndsACompileThatTakesTooMuchTimeOrMemory) {
  const auto compiler = CompilerOf(*MakeByteTokenizer());
  Limits limits;
  limits.grammar_compile_ms = 100;
  for (const GrammarSource& source : kHostile) {
    ASSERT_TRUE(CheckGrammar(source, limits).ok());
    const auto grammar = compiler->Compile(source, limits);
    ASSERT_FALSE(grammar.ok()) << source.text.substr(0, 40);
    EXPECT_EQ(DetailsOf(grammar.status()).reason, Reason::kGrammarTooSlow) << grammar.status();
  }
  const auto slow = compiler->Compile(kHostile[4], limits);
  EXPECT_EQ(DetailsOf(slow.status()).metadata.at("limit"), "100") << slow.status();
  limits.grammar_compile_ms = 3'600'000;
  const auto large = compiler->Compile(kHostile[1], limits, 8 << 20);
  EXPECT_EQ(DetailsOf(large.status()).metadata.at("limit"), std::to_string(8 << 20))
      << large.status();
  EXPECT_TRUE(compiler->Compile({GrammarKind::kRegex, "[a-z]+"}).ok());
}

TEST(WorkLimit, ACompileMayEndAtAnyOfItsAllocations) {
  const auto compiler = CompilerOf(*MakeByteTokenizer());
  const GrammarSource sources[] = {
      {GrammarKind::kRegex, "(ab)?((a|b|cd)*x?){3}[^a\u00e9]{1,3}[a-z ]{9,10}"},
      {GrammarKind::kEbnf,
       "root ::= r1 r2* | \"x\" [a-z]{1,20}\nr1 ::= \"a\" r1 | \"\"\nr2 ::= (\"b\" | r1){2,5}"},
      {GrammarKind::kJsonSchema, R"({"type": "object", "properties": {
         "name": {"type": "string", "maxLength": 8, "pattern": "^a+$"},
         "age": {"type": "integer", "minimum": 0, "maximum": 12345},
         "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
         "nodes": {"$ref": "#/$defs/nodes"},
         "mood": {"anyOf": [{"type": "null"}, {"type": "number", "minimum": -1.5}]}},
         "$defs": {"nodes": {"type": "array", "items": {"$ref": "#/$defs/nodes"}}},
         "required": ["name"], "additionalProperties": {"type": "string", "format": "date-time"}})"},
  };
  for (const GrammarSource& source : sources) {
    int64_t refused = 0, most_bytes = 0;
    for (;; most_bytes += 1 + most_bytes / 128) {
      const auto grammar = compiler->Compile(source, kDefaultLimits, most_bytes);
      if (grammar.ok()) break;
      EXPECT_EQ(DetailsOf(grammar.status()).reason, Reason::kGrammarTooSlow) << grammar.status();
      ++refused;
    }
    EXPECT_GT(refused, 200);
    EXPECT_LT(most_bytes, 1 << 20);
  }
}

}  // namespace
}  // namespace lfm2
