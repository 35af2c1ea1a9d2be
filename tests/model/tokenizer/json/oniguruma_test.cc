#include "model/tokenizer/json/oniguruma.h"

#include <gtest/gtest.h>

#include "base/utf8.h"
#include "model/tokenizer/json/pattern.h"

namespace lfm2 {
namespace {

std::vector<std::string> Matches(const std::string& pattern, const std::string& text) {
  const auto regex = MakeRegex(pattern, "test");
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<std::string> found;
  if (!regex.ok()) return found;
  const auto ranges = (*regex)->FindAll(text);
  EXPECT_TRUE(ranges.ok()) << ranges.status();
  for (const TextRange& range : *ranges)
    found.push_back(text.substr(range.begin, range.end - range.begin));
  return found;
}

using Strings = std::vector<std::string>;

TEST(Oniguruma, SpaceIsWhiteSpaceOfUnicodeAndNotTheMongolianSeparator) {
  EXPECT_EQ(Matches("\\s", "a\u0085\u00A0\u2003\u180E\u200B\u3000"),
            (Strings{"\u0085", "\u00A0", "\u2003", "\u3000"}));
  EXPECT_EQ(Matches("[^\\s]", " \u180E"), (Strings{"\u180E"}));
  EXPECT_EQ(Matches("[\\S]", " \u180E\u2028"), (Strings{"\u180E"}));
  EXPECT_EQ(Matches("\\S+", "ab c"), (Strings{"ab", "c"}));
}

TEST(Oniguruma, WordCharactersAreTheReferences) {
  EXPECT_EQ(Matches("\\w+", "a_1\u00BD\u0301\u203F-\u2167\u2460"),
            (Strings{"a_1\u00BD\u0301\u203F", "\u2167"}));
}

TEST(Oniguruma, PropertiesKnowCharactersOfUnicode16) {
  EXPECT_EQ(Matches("\\p{L}+", "x\U00031350y"), (Strings{"x\U00031350y"}));
  EXPECT_EQ(Matches("\\p{Nd}", "\U00010D40"), (Strings{"\U00010D40"}));
  EXPECT_EQ(Matches("\\P{L}+", "a1\U00031350"), (Strings{"1"}));
  EXPECT_EQ(Matches("[^\\p{L}]+", "1\U00031350"), (Strings{"1"}));
}

TEST(Oniguruma, APlusAfterAnIntervalRepeatsIt) {
  EXPECT_EQ(Matches("a{2,3}+b", "aaaaab"), (Strings{"aaaaab"}));
  EXPECT_EQ(Matches("\\d{1,3}+", "1234567"), (Strings{"1234567"}));
  EXPECT_EQ(Matches("(?:ab){2}+", "abababab"), (Strings{"abababab"}));
}

TEST(Oniguruma, AnIntervalMayLackItsLowerBound) {
  EXPECT_EQ(Matches("xa{,2}", "xaaa"), (Strings{"xaa"}));
}

TEST(Oniguruma, ABraceThatIsNoIntervalIsItself) {
  EXPECT_EQ(Matches("a{x}", "a{x}"), (Strings{"a{x}"}));
}

TEST(Oniguruma, ScriptsAreScriptsAndNotTheirExtensions) {
  EXPECT_EQ(Matches("\\p{Han}", "\u6F22\u3001"), (Strings{"\u6F22"}));
  EXPECT_EQ(Matches("\\p{^Han}", "\u6F22a"), (Strings{"a"}));
}

TEST(Oniguruma, CaseIsIgnoredOnlyInItsGroup) {
  EXPECT_EQ(Matches("(?i:'s|'t)b", "'Sb'SB"), (Strings{"'Sb"}));
  EXPECT_EQ(Matches("(?i)ab", "AB"), (Strings{"AB"}));
}

TEST(Oniguruma, LooksAhead) {
  EXPECT_EQ(Matches("\\s+(?!\\S)|\\s+", "a   b "), (Strings{"  ", " ", " "}));
}

TEST(Oniguruma, CodePointsMayBeEscaped) {
  EXPECT_EQ(Matches("[\\u4E00-\\u9FFF]\\x41\\x{1F600}\\v", "\u6F22A\U0001F600\v"),
            (Strings{"\u6F22A\U0001F600\v"}));
}

TEST(Oniguruma, RefusesConstructsThatTheTwoSyntaxesReadDifferently) {
  for (const char* pattern :
       {"\\h",    "\\R",          "\\X",         "\\K",     "\\G",   "\\b",
        "\\1",    "[a&&b]",       "[[:alpha:]]", "[[ab]c]", "[]a]",  "(?<n>a)",
        "(?m:a)", "(?#x)a",       "a(?i)b",      "(*FAIL)", "a{2}?", "*a",
        "(?:*a)", "(a",           "a)",          "[a",      "\\p{L", "\\pL",
        "[\\W]",  "(?i:\\p{Lu})", "\\x{}",       "\\u12",   "a\\",   "\\p{NoSuchScript}",
        "(?~a)"}) {
    EXPECT_FALSE(MakeRegex(pattern, "test").ok()) << pattern;
  }
}

TEST(Oniguruma, AMatchThatBacktracksWithoutEndIsAnError) {
  const auto regex = MakeRegex("(?:(?:a|a)+)+[bc]", "test");
  ASSERT_TRUE(regex.ok());
  EXPECT_FALSE((*regex)->FindAll(std::string(5000, 'a')).ok());
}

}  // namespace
}  // namespace lfm2
