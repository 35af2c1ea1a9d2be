// Worker programs that cannot be started, and waits for workers that are cut short.
#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <thread>

#include "tests/server/jobs/queue/queue_fixture.h"

namespace lfm2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WorkerStartTest : public QueueFixture {};

TEST_F(WorkerStartTest, AJobOutlastsAWorkerProgramThatCannotBeStarted) {
  const std::filesystem::path program = options.worker_program;
  options.worker_program = directory.path() / "absent";
  options.crashes_to_quarantine = 1;
  Open();
  EXPECT_TRUE(queue->worker_status().ok());
  const std::string id = Submit("steps:1 model");
  ASSERT_TRUE(Eventually([&] { return States(id).size() > 8; }));
  EXPECT_FALSE(IsTerminal(Get(id).state)) << Get(id).error;
  EXPECT_THAT(std::string(queue->worker_status().message()), HasSubstr("No such file"));
  std::filesystem::create_symlink(program, options.worker_program);
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.attempt, 1) << "a start that failed is no attempt";
  EXPECT_TRUE(queue->worker_status().ok());
}

TEST_F(WorkerStartTest, NothingIsWrongWithWorkersOnceNoJobWaitsForOne) {
  options.worker_program = directory.path() / "absent";
  Open();
  const std::string id = Submit("steps:1");
  ASSERT_TRUE(Eventually([&] { return !queue->worker_status().ok(); }));
  ASSERT_TRUE(Eventually([&] { return queue->Cancel(id).ok(); }));
  EXPECT_TRUE(Eventually([&] { return queue->worker_status().ok(); }));
}

TEST_F(WorkerStartTest, ASecondShutdownShortensTheWaitOfTheFirst) {
  options.stop_grace = std::chrono::hours(1);
  Open();
  const std::string id = Submit("deaf");
  AwaitStep(id, 1);
  std::thread first([&] { queue->Shutdown(std::chrono::hours(1)); });
  EXPECT_TRUE(Eventually([&] {
    return DetailsOf(queue->Submit("me", "", ScriptedJob("x")).status()).reason ==
           Reason::kDraining;
  }));
  queue->Shutdown(std::chrono::milliseconds(0));
  first.join();
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "QUEUED 2"));
}

}  // namespace
}  // namespace lfm2
