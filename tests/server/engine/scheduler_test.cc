#include "server/engine/scheduler.h"

#include <gtest/gtest.h>

#include "server/engine/loaded_model.h"

namespace lfm2 {
namespace {

struct Lanes {
  LoadedModel first, second;
};

std::vector<std::pair<size_t, int64_t>> Pairs(const LaneStep& step) {
  std::vector<std::pair<size_t, int64_t>> pairs;
  for (const Chunk& chunk : step.chunks) pairs.emplace_back(chunk.sequence, chunk.tokens);
  return pairs;
}

using Chunks = std::vector<std::pair<size_t, int64_t>>;

TEST(PlanStep, HasNothingToDoWithoutSequences) { EXPECT_TRUE(PlanStep({}, {512, 64}).empty()); }

TEST(PlanStep, TakesEveryDecodingSequenceThenFillsTheBudgetInOrderOfArrival) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {{&lanes.first, 10, false},
                                                    {&lanes.first, 1, true},
                                                    {&lanes.first, 10, false},
                                                    {&lanes.first, 1, true},
                                                    {&lanes.first, 10, false}};
  const auto steps = PlanStep(sequences, {16, 64});
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{1, 1}, {3, 1}, {0, 10}, {2, 4}}));
}

TEST(PlanStep, DividesALongPromptIntoChunksOfTheBudget) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {{&lanes.first, 1000, false}};
  EXPECT_EQ(Pairs(PlanStep(sequences, {128, 64})[0]), (Chunks{{0, 128}}));
}

TEST(PlanStep, GivesEveryTokenToDecodingWhenThatFillsTheBudget) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {{&lanes.first, 1, true},
                                                    {&lanes.first, 1, true},
                                                    {&lanes.first, 1, true},
                                                    {&lanes.first, 5, false}};
  EXPECT_EQ(Pairs(PlanStep(sequences, {2, 64})[0]), (Chunks{{0, 1}, {1, 1}, {2, 1}}));
  EXPECT_EQ(Pairs(PlanStep(sequences, {4, 64})[0]), (Chunks{{0, 1}, {1, 1}, {2, 1}, {3, 1}}));
}

TEST(PlanStep, KeepsThePlacesForTheOldest) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {
      {&lanes.first, 1, true}, {&lanes.first, 3, false}, {&lanes.first, 3, false}};
  EXPECT_EQ(Pairs(PlanStep(sequences, {512, 2})[0]), (Chunks{{0, 1}, {1, 3}}));
}

TEST(PlanStep, GivesEachModelItsOwnBudgetAndCountsPlacesOverAllOfThem) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {{&lanes.second, 9, false},
                                                    {&lanes.first, 9, false},
                                                    {&lanes.second, 9, false},
                                                    {&lanes.first, 9, false}};
  const auto steps = PlanStep(sequences, {12, 3});
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].lane, &lanes.second);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{0, 9}, {2, 3}}));
  EXPECT_EQ(steps[1].lane, &lanes.first);
  EXPECT_EQ(Pairs(steps[1]), (Chunks{{1, 9}}));
}

TEST(PlanStep, AlwaysMovesOnWhateverTheLimitsAre) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {{&lanes.first, 5, false}};
  EXPECT_EQ(Pairs(PlanStep(sequences, {0, 0})[0]), (Chunks{{0, 1}}));
  EXPECT_EQ(Pairs(PlanStep(sequences, {-1, -1})[0]), (Chunks{{0, 1}}));
}

TEST(PlanStep, NeverMakesALaneThatHasNoChunk) {
  Lanes lanes;
  for (int64_t budget = 0; budget < 6; ++budget) {
    const std::vector<ScheduledSequence> sequences = {
        {&lanes.first, 1, true}, {&lanes.second, 7, false}, {&lanes.first, 7, false}};
    for (const LaneStep& step : PlanStep(sequences, {budget, 64})) {
      EXPECT_FALSE(step.chunks.empty()) << budget;
    }
  }
}

}  // namespace
}  // namespace lfm2
