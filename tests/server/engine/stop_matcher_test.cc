#include "server/engine/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace lfm2 {
namespace {

struct Outcome {
  std::string text, match;
  bool operator==(const Outcome&) const = default;
};

// `sizes`: how the text is divided; the rest comes whole.
Outcome Match(std::vector<std::string> stops, std::string_view text,
              const std::vector<size_t>& sizes) {
  StopMatcher matcher(std::move(stops));
  std::string shown;
  for (const size_t size : sizes) {
    shown += matcher.Push(text.substr(0, size));
    text.remove_prefix(std::min(size, text.size()));
  }
  shown += matcher.Push(text);
  shown += matcher.Flush();
  return {shown, matcher.match()};
}

TEST(StopMatcher, ReleasesEverythingAtOnceWithoutStopStrings) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Flush(), "");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcher, HoldsBackWhatMayBecomeAStopStringAndNoMore) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Push("one E"), "one ");
  EXPECT_EQ(matcher.Push("N"), "");
  EXPECT_EQ(matcher.Push("x"), "ENx");
  EXPECT_EQ(matcher.Push("EN"), "");
  EXPECT_EQ(matcher.Push("EN"), "EN");
  EXPECT_EQ(matcher.Push("D and more"), "");
  EXPECT_EQ(matcher.match(), "END");
  EXPECT_EQ(matcher.Push("more"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcher, FlushGivesBackWhatBecameNoStopString) {
  StopMatcher matcher({"\n\nUser:"});
  EXPECT_EQ(matcher.Push("hello\n\nUs"), "hello");
  EXPECT_EQ(matcher.Flush(), "\n\nUs");
}

TEST(StopMatcher, TakesTheOneThatIsCompleteFirst) {
  EXPECT_EQ(Match({"abcd", "bc"}, "xabcdx", {}), (Outcome{"xa", "bc"}));
}

TEST(StopMatcher, TakesTheLongestOfThoseCompleteAtTheSameByte) {
  EXPECT_EQ(Match({"c", "abc", "bc"}, "xabcx", {}), (Outcome{"x", "abc"}));
}

TEST(StopMatcher, FindsAStopStringThatOverlapsItself) {
  EXPECT_EQ(Match({"aab"}, "aaaab", {1, 1, 1, 1}), (Outcome{"aa", "aab"}));
}

TEST(StopMatcher, CutsTheSameHoweverTheTextIsDivided) {
  std::mt19937 random(7);
  const auto letters = [&random](size_t size, int kinds) {
    std::string text;
    for (size_t i = 0; i < size; ++i) text += static_cast<char>('a' + random() % kinds);
    return text;
  };
  for (int round = 0; round < 2000; ++round) {
    const std::vector<std::string> stops = {letters(1 + random() % 4, 2),
                                            letters(2 + random() % 5, 2)};
    const std::string text = letters(random() % 30, 3);
    std::vector<size_t> ones(text.size(), 1);
    std::vector<size_t> pieces(10);
    for (size_t& piece : pieces) piece = random() % 5;
    const Outcome whole = Match(stops, text, {});
    EXPECT_EQ(Match(stops, text, ones), whole) << text << " " << stops[0] << " " << stops[1];
    EXPECT_EQ(Match(stops, text, pieces), whole) << text << " " << stops[0] << " " << stops[1];
    if (whole.match.empty()) {
      EXPECT_EQ(whole.text, text);
    } else {
      EXPECT_TRUE(text.starts_with(whole.text + whole.match));
    }
  }
}

}  // namespace
}  // namespace lfm2
