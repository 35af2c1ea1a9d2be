#include "server/jobs/queue/worker_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

namespace lfm2 {
namespace {

using testing::Contains;
using testing::Each;
using testing::Not;
using testing::StartsWith;

TEST(WorkerEnvironment, LetsIdleThreadsSleepAndNamesTheirNumber) {
  EXPECT_THAT(WorkerEnvironment(3), Contains("OMP_WAIT_POLICY=PASSIVE"));
  EXPECT_THAT(WorkerEnvironment(3), Contains("OMP_NUM_THREADS=3"));
  EXPECT_THAT(WorkerEnvironment(0), Not(Contains(StartsWith("OMP_NUM_THREADS="))));
}

TEST(WorkerEnvironment, HoldsWhatIsNamedAndNothingElse) {
  setenv("LFM2_TEST_MARK", "1", 1);
  setenv("SECRET_TOKEN", "x", 1);
  setenv("OMP_WAIT_POLICY", "ACTIVE", 1);
  EXPECT_THAT(WorkerEnvironment(0), Contains("LFM2_TEST_MARK=1"));
  EXPECT_THAT(WorkerEnvironment(0), Each(Not(StartsWith("SECRET_TOKEN"))));
  EXPECT_THAT(WorkerEnvironment(0), Not(Contains("OMP_WAIT_POLICY=ACTIVE")));
  unsetenv("LFM2_TEST_MARK");
  unsetenv("SECRET_TOKEN");
  unsetenv("OMP_WAIT_POLICY");
}

}  // namespace
}  // namespace lfm2
