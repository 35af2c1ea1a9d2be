#include "server/engine/score_task.h"

#include <gtest/gtest.h>

#include "tests/server/fakes/fake_model_runner.h"

namespace lfm2 {
namespace {

TEST(ScoreTask, GivesTheSameInChunksOfAnySize) {
  const std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 9, 11, 12};
  FakeModelRunner runner;
  const std::vector<float> whole = runner.Score(tokens).value();
  ASSERT_EQ(whole.size(), tokens.size() - 1);
  for (int64_t chunk = 1; chunk <= 12; ++chunk) {
    ScoreTask task(tokens, chunk);
    int turns = 1;
    while (task.Advance(runner).value()) ++turns;
    EXPECT_EQ(task.logprobs(), whole) << chunk;
    EXPECT_EQ(turns, (9 + chunk - 1) / chunk) << chunk;
  }
}

TEST(ScoreTask, FreesItsStateWithItself) {
  const auto counters = std::make_shared<FakeModelCounters>();
  FakeModelRunner runner({}, counters);
  {
    ScoreTask task({1, 2, 3, 4}, 1);
    ASSERT_TRUE(task.Advance(runner).value());
    EXPECT_EQ(counters->live_states, 1);
  }
  EXPECT_EQ(counters->live_states, 0);
}

TEST(ScoreTask, PassesOnThatThereIsNoState) {
  FakeModelScript script;
  script.fail_new_state = [] { return Error(Reason::kOutOfMemory, "no memory"); };
  FakeModelRunner runner(script);
  ScoreTask task({1, 2}, 8);
  EXPECT_EQ(DetailsOf(task.Advance(runner).status()).reason, Reason::kOutOfMemory);
}

}  // namespace
}  // namespace lfm2
