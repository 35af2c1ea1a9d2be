#include "model/tokenizer/json/pattern.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

using Strings = std::vector<std::string>;

Strings Split(const std::string& text, SplitBehavior behavior, SplitBy by = SplitBy::kMatches) {
  const auto matches = *MakeLiteral("-")->FindAll(text);
  Strings pieces;
  for (const TextRange& range : SplitByMatches(text.size(), matches, behavior, by)) {
    pieces.push_back(text.substr(range.begin, range.end - range.begin));
  }
  return pieces;
}

// The example of the reference's own documentation.
constexpr char kText[] = "the-final--countdown";

TEST(Pattern, EveryBehaviourSplitsAsTheReferenceDoes) {
  EXPECT_EQ(Split(kText, SplitBehavior::kRemoved), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(Split(kText, SplitBehavior::kIsolated),
            (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(Split(kText, SplitBehavior::kMergedWithPrevious),
            (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(Split(kText, SplitBehavior::kMergedWithNext),
            (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(Split(kText, SplitBehavior::kContiguous),
            (Strings{"the", "-", "final", "--", "countdown"}));
}

TEST(Pattern, InvertedTheGapsAreTheDelimiters) {
  EXPECT_EQ(Split(kText, SplitBehavior::kRemoved, SplitBy::kGaps), (Strings{"-", "-", "-"}));
  EXPECT_EQ(Split("a-b", SplitBehavior::kMergedWithPrevious, SplitBy::kGaps), (Strings{"a", "-b"}));
}

TEST(Pattern, NoMatchLeavesTheTextWhole) {
  EXPECT_EQ(Split("abc", SplitBehavior::kIsolated), (Strings{"abc"}));
  EXPECT_EQ(Split("", SplitBehavior::kIsolated), Strings{});
}

TEST(Pattern, AnEmptyMatchSplitsWithoutTakingAnything) {
  const auto matches = *(*MakeRegex("x*", "test"))->FindAll("axxb");
  ASSERT_EQ(matches.size(), 3u);
  EXPECT_EQ(matches[1].begin, 1u);
  EXPECT_EQ(matches[1].end, 3u);
}

TEST(Pattern, JsonMustNameOneKind) {
  const Json literal = *ParseJson(R"({"String": "a.b"})");
  EXPECT_TRUE(PatternFromJson(&literal, "test").ok());
  for (const char* text : {R"({})", R"({"String": "a", "Regex": "b"})", R"({"Glob": "*"})",
                           R"({"Regex": "["})", R"("x")"}) {
    const Json json = *ParseJson(text);
    EXPECT_EQ(DetailsOf(PatternFromJson(&json, "test").status()).reason, Reason::kTokenizerInvalid)
        << text;
  }
  EXPECT_FALSE(PatternFromJson(nullptr, "test").ok());
}

}  // namespace
}  // namespace lfm2
