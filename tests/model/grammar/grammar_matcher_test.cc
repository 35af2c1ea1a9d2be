#include "model/grammar/grammar_matcher.h"

#include "model/tokenizer/bytes.h"
#include "tests/model/grammar/support.h"

namespace lfm2 {
namespace {

using testing_support::Compile;
using testing_support::CompilerOf;

class GrammarMatcherTest : public testing::Test {
 protected:
  std::unique_ptr<GrammarMatcher> Match(const std::string& regex) {
    const auto grammar = Compile(*compiler_, GrammarKind::kRegex, regex);
    EXPECT_TRUE(grammar.ok()) << grammar.status();
    return GrammarMatcher::Make(*grammar).value();
  }
  static std::string Allowed(GrammarMatcher& matcher) {
    const auto mask = matcher.NextMask();
    if (!mask.ok()) return SpecOf(DetailsOf(mask.status()).reason).name;
    std::string out;
    for (int32_t id = 0; id < 256; ++id) {
      if (IsAllowed(**mask, id)) out += static_cast<char>(id);
    }
    if (IsAllowed(**mask, 258)) out += "$";
    return out;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = MakeByteTokenizer();
  std::unique_ptr<GrammarCompiler> compiler_ = CompilerOf(*tokenizer_);
};

TEST_F(GrammarMatcherTest, AllowsWhatMayFollowAndTheEndOnlyWhereTheTextIsComplete) {
  const auto matcher = Match("ab*");
  EXPECT_EQ(Allowed(*matcher), "a");
  EXPECT_FALSE(matcher->complete());
  ASSERT_TRUE(matcher->Accept('a').ok());
  EXPECT_TRUE(matcher->complete());
  EXPECT_EQ(Allowed(*matcher), "b$");
  ASSERT_TRUE(matcher->Accept('b').ok());
  EXPECT_FALSE(matcher->finished());
  ASSERT_TRUE(matcher->Accept(258).ok());
  EXPECT_TRUE(matcher->finished());
}

TEST_F(GrammarMatcherTest, RefusesATokenThatIsNotAllowedAndStaysWhereItWas) {
  const auto matcher = Match("ab");
  for (const int32_t wrong : {int32_t{'b'}, 258, 256, 100'000, -1}) {
    EXPECT_FALSE(matcher->Accept(wrong).ok()) << wrong;
  }
  EXPECT_EQ(Allowed(*matcher), "a");
  EXPECT_EQ(matcher->accepted(), 0);
}

TEST_F(GrammarMatcherTest, TakesTokensBackAndGoesOnOtherwise) {
  const auto matcher = Match("a(bc|cb)d");
  for (const char c : {'a', 'b', 'c'}) ASSERT_TRUE(matcher->Accept(c).ok());
  EXPECT_EQ(Allowed(*matcher), "d");
  ASSERT_TRUE(matcher->Rollback(2).ok());
  EXPECT_EQ(Allowed(*matcher), "bc");
  ASSERT_TRUE(matcher->Accept('c').ok());
  EXPECT_EQ(Allowed(*matcher), "b");
  EXPECT_FALSE(matcher->Rollback(3).ok());
  EXPECT_FALSE(matcher->Rollback(-1).ok());
}

TEST_F(GrammarMatcherTest, TwoTextsOfOneGrammarDoNotKnowOfEachOther) {
  const auto grammar = Compile(*compiler_, GrammarKind::kRegex, "ab");
  const auto one = GrammarMatcher::Make(*grammar).value();
  const auto other = GrammarMatcher::Make(*grammar).value();
  ASSERT_TRUE(one->Accept('a').ok());
  EXPECT_EQ(Allowed(*one), "b");
  EXPECT_EQ(Allowed(*other), "a");
}

TEST_F(GrammarMatcherTest, WithoutAnEndTokenATextEndsAsSoonAsItIsComplete) {
  const auto compiler = GrammarCompiler::Make(*tokenizer_, 256, {}).value();
  const auto grammar = compiler->Compile({GrammarKind::kRegex, "a[0-9]+"}).value();
  const auto matcher = GrammarMatcher::Make(grammar).value();
  ASSERT_TRUE(matcher->Accept('a').ok());
  EXPECT_FALSE(matcher->finished());
  ASSERT_TRUE(matcher->Accept('7').ok());
  EXPECT_TRUE(matcher->finished());
}

}  // namespace
}  // namespace lfm2
