#include "server/jobs/queue/retry_policy.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

TEST(RetryPolicy, DoublesTheWaitUpToAMinute) {
  const RetryPolicy policy;
  JobRecord record;
  for (const int64_t expected : {1'000, 2'000, 4'000, 8'000, 16'000, 32'000, 60'000, 60'000}) {
    CountCrash(record);
    EXPECT_EQ(RetryDelay(policy, record), milliseconds(expected));
  }
}

TEST(RetryPolicy, CountsCrashesAtTheFurthestStepOnly) {
  const RetryPolicy policy;
  JobRecord record;
  record.high_step = 50;
  CountCrash(record);
  CountCrash(record);  // steps that are done again after a checkpoint are no progress
  EXPECT_EQ(record.crashes, 2);
  EXPECT_FALSE(IsCrashLoop(policy, record));
  record.high_step = 51;
  CountCrash(record);
  EXPECT_EQ(record.crashes, 1);
  CountCrash(record);
  CountCrash(record);
  EXPECT_TRUE(IsCrashLoop(policy, record));
}

}  // namespace
}  // namespace lfm2
