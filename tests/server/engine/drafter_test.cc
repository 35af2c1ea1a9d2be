#include "server/engine/drafter.h"

#include <gtest/gtest.h>

#include <random>

namespace lfm2 {
namespace {

using Tokens = std::vector<int32_t>;

Tokens Periodic(int64_t count, int32_t period) {
  Tokens tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(i % period));
  return tokens;
}

TEST(Drafter, GuessesMoreAsItsGuessesHold) {
  Drafter drafter(16);
  drafter.Read(Periodic(40, 10));
  std::vector<size_t> sizes;
  for (int i = 0; i < 5; ++i) {
    const Tokens draft = drafter.Draft(100);
    sizes.push_back(draft.size());
    EXPECT_EQ(draft[0], 0);
    drafter.Note(static_cast<int64_t>(draft.size()), static_cast<int64_t>(draft.size()));
  }
  EXPECT_EQ(sizes, (std::vector<size_t>{2, 4, 8, 16, 16}));
  drafter.Note(16, 3);
  EXPECT_EQ(drafter.Draft(100).size(), 8U);
  EXPECT_EQ(drafter.Draft(3).size(), 3U);
  EXPECT_TRUE(drafter.Draft(0).empty());
}

TEST(Drafter, GuessesLittleWhereNothingHolds) {
  Drafter drafter(16);
  drafter.Read(Periodic(40, 10));
  int64_t drafted = 0;
  for (int step = 0; step < 10'000; ++step) {
    const auto now = static_cast<int64_t>(drafter.Draft(100).size());
    drafted += now;
    if (now > 0) drafter.Note(now, 0);
  }
  EXPECT_LE(drafted, 16 + 10'000 / 32);
  EXPECT_GT(drafted, 10'000 / 64);  // but it looks again
}

TEST(Drafter, ComesBackWhenTheTextRepeatsAgain) {
  Drafter drafter(16);
  drafter.Read(Periodic(40, 10));
  for (int step = 0; step < 1000; ++step) {
    const auto now = static_cast<int64_t>(drafter.Draft(100).size());
    if (now > 0) drafter.Note(now, 0);
  }
  int64_t drafted = 0;
  for (int step = 0; step < 100; ++step) {
    const auto now = static_cast<int64_t>(drafter.Draft(100).size());
    drafted += now;
    if (now > 0) drafter.Note(now, now);
  }
  EXPECT_GT(drafted, 600);
}

TEST(Drafter, ReadsALongTextInBoundedPartsAndGuessesOnlyAfterItsEnd) {
  Drafter drafter(8);
  const Tokens text = Periodic(2000, 50);
  int calls = 0;
  while (drafter.Draft(8).empty()) {
    drafter.Read(text);
    ASSERT_LT(++calls, 10);
  }
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(drafter.Draft(1), Tokens{0});
}

// The account bounds what wrong guesses cost, whatever comes.
TEST(Drafter, NeverDraftsMoreThanItHasEarnedAndAShareOfTheSteps) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    Drafter drafter(16);
    drafter.Read(Periodic(40, 10));
    const uint32_t holds = random() % 10;
    int64_t drafted = 0, right = 0;
    for (int step = 0; step < 2000; ++step) {
      const auto now = static_cast<int64_t>(drafter.Draft(100).size());
      if (now == 0) continue;
      int64_t good = 0;
      while (good < now && random() % 10 < holds) ++good;
      drafter.Note(now, good);
      drafted += now;
      right += good;
    }
    EXPECT_LE(drafted, 16 + 4 * right + 2000 / 32) << holds;
  }
}

}  // namespace
}  // namespace lfm2
