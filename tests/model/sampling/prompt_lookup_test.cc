#include "model/sampling/prompt_lookup.h"

#include <gtest/gtest.h>

#include <random>

namespace lfm2 {
namespace {

using Tokens = std::vector<int32_t>;

PromptLookup Over(const Tokens& tokens, PromptLookup::Options options = {2, 4}) {
  PromptLookup lookup(options);
  lookup.Append(tokens);
  return lookup;
}

TEST(PromptLookup, ProposesWhatFollowedTheLastTokensBefore) {
  EXPECT_EQ(Over({1, 2, 3, 4, 5, 1, 2}).Draft(3), (Tokens{3, 4, 5}));
  EXPECT_EQ(Over({1, 2, 3, 4, 5, 1, 2}).Draft(0), Tokens());
}

TEST(PromptLookup, ProposesNothingWhereTheLastTokensAreNew) {
  EXPECT_TRUE(Over({}).Draft(4).empty());
  EXPECT_TRUE(Over({1}).Draft(4).empty());
  EXPECT_TRUE(Over({1, 2, 3, 4, 5}).Draft(4).empty());
  EXPECT_TRUE(Over({1, 2, 3, 9, 2}).Draft(4).empty());  // one token alike is below the shortest
}

TEST(PromptLookup, PrefersTheLongestMatchAndThenTheLatest) {
  EXPECT_EQ(Over({7, 1, 2, 10, 8, 1, 2, 20, 7, 1, 2}).Draft(1), Tokens{10});
  EXPECT_EQ(Over({1, 2, 10, 1, 2, 20, 1, 2}).Draft(1), Tokens{20});
}

TEST(PromptLookup, GoesOnPeriodicallyPastTheEndOfTheText) {
  EXPECT_EQ(Over({5, 6, 5, 6, 5, 6}).Draft(5), (Tokens{5, 6, 5, 6, 5}));
  EXPECT_EQ(Over({9, 9, 9}).Draft(4), (Tokens{9, 9, 9, 9}));
}

// The draft by looking through the whole text.
Tokens Plainly(const Tokens& tokens, int64_t most, PromptLookup::Options options) {
  for (int n = options.longest; n >= options.shortest; --n) {
    const int64_t size = static_cast<int64_t>(tokens.size());
    for (int64_t next = size - 1; next >= n; --next) {
      if (!std::equal(tokens.end() - n, tokens.end(), tokens.begin() + next - n)) continue;
      Tokens draft;
      for (int64_t i = 0; i < most; ++i) {
        draft.push_back(next + i < size ? tokens[static_cast<size_t>(next + i)]
                                        : draft[static_cast<size_t>(next + i - size)]);
      }
      return draft;
    }
  }
  return {};
}

TEST(PromptLookup, AgreesWithASearchThroughTheWholeText) {
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    const PromptLookup::Options options{1 + round % 3, 3 + round % 3};
    PromptLookup lookup(options);
    Tokens tokens;
    for (int i = 0; i < 200; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % 4));
      lookup.Append(tokens.back());
      ASSERT_EQ(lookup.Draft(6), Plainly(tokens, 6, options)) << round << " " << i;
    }
  }
}

}  // namespace
}  // namespace lfm2
