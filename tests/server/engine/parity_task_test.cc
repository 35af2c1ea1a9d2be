#include "server/engine/parity_task.h"

#include <gtest/gtest.h>

#include "tests/server/fakes/fake_model_runner.h"

namespace lfm2 {
namespace {

const std::vector<int32_t> kTokens = {1, 2, 3, 4, 5, 6, 7, 9, 11, 12};
constexpr ReportKeep kAll = {.values = true, .all_logits = true};

TEST(ParityTask, GivesTheSameInChunksOfAnySize) {
  FakeModelScript script;
  int turns = 0;
  script.before_probe = [&](std::span<const int32_t>) { ++turns; };
  FakeModelRunner runner(script);
  const ParityReport whole = runner.Probe(kTokens, kAll).value();
  for (int64_t chunk = 1; chunk <= 12; ++chunk) {
    turns = 0;
    ParityTask task(kTokens, kAll, chunk);
    while (task.Advance(runner).value()) EXPECT_GT(task.report_bytes(), 0);
    EXPECT_EQ(turns, (10 + chunk - 1) / chunk) << chunk;
    EXPECT_EQ(task.report_bytes(), whole.bytes());
    const ParityReport report = task.Finish();
    EXPECT_EQ(report.logits, whole.logits) << chunk;
    EXPECT_EQ(report.probes[0].values, whole.probes[0].values) << chunk;
    EXPECT_EQ(report.probes[0].norm, whole.probes[0].norm) << chunk;
  }
}

TEST(ParityTask, FreesItsStateWithTheLastTurnOrWithItself) {
  const auto counters = std::make_shared<FakeModelCounters>();
  FakeModelRunner runner({}, counters);
  {
    ParityTask task(kTokens, {}, 4);
    ASSERT_TRUE(task.Advance(runner).value());
    EXPECT_EQ(counters->live_states, 1);
  }
  EXPECT_EQ(counters->live_states, 0);
  ParityTask task(kTokens, {}, 64);
  ASSERT_FALSE(task.Advance(runner).value());
  EXPECT_EQ(counters->live_states, 0);
}

}  // namespace
}  // namespace lfm2
