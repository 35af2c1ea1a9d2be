#include "server/jobs/queue/job_queue.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "server/jobs/queue/uuid.h"
#include "tests/server/jobs/queue/queue_fixture.h"
#include "tests/server/jobs/queue/refused_writes.h"

namespace lfm2 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Milliseconds = std::chrono::milliseconds;

class JobQueueTest : public QueueFixture {};

// The process whose number the file holds has had SIGSTOP.
bool IsStopped(const std::filesystem::path& pid_file) {
  return ReadText("/proc/" + ReadText(pid_file) + "/stat").find(") T") != std::string::npos;
}

TEST_F(JobQueueTest, RunsATrainingJobAndPublishesItsModel) {
  Open();
  const std::string id = Submit("steps:3 model");
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.result_version, "v1");
  EXPECT_EQ(job.step, 3);
  EXPECT_EQ(job.checkpoint, "ckpt-3-1");
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "SUCCEEDED 1"));
  ExpectNumberedWithoutGap(id);
  const ModelVersion made = models->Resolve("made").value();
  EXPECT_EQ(made.manifest.job_id, id);
  EXPECT_EQ(made.manifest.tokenizer_kind, "bytes");
  EXPECT_EQ(made.manifest.tokenizer_sha256, "abcd");
}

TEST_F(JobQueueTest, KeepsExportedFilesUntilTheLastReaderReleasesThem) {
  Open();
  const std::string id = Submit("export", JobKind::kExport);
  const Job job = AwaitEnd(id);
  ASSERT_EQ(job.state, JobState::kSucceeded) << job.error;
  ASSERT_EQ(job.files.size(), 1u);
  EXPECT_EQ(job.files[0].name, "data");
  const std::filesystem::path exported = queue->ExportDirectory(id).value();
  ASSERT_TRUE(queue->ExportDirectory(id).ok());
  queue->ReleaseExport(id);
  EXPECT_EQ(ReadText(exported / "data"), "exported");
  queue->ReleaseExport(id);
  EXPECT_FALSE(std::filesystem::exists(exported));
  EXPECT_EQ(DetailsOf(queue->ExportDirectory(id).status()).reason, Reason::kFileNotFound);
}

TEST_F(JobQueueTest, ATrainingJobHasNoExportDirectory) {
  Open();
  const std::string id = Submit("steps:1 model");
  AwaitEnd(id);
  EXPECT_EQ(DetailsOf(queue->ExportDirectory(id).status()).reason, Reason::kWrongState);
}

TEST_F(JobQueueTest, QueuesAJobAgainWhenItsWorkerIsKilled) {
  Open();
  const std::string id = Submit("steps:2 crash_once:a steps:2 model");
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.attempt, 2);
  EXPECT_THAT(States(id),
              ElementsAre("QUEUED 1", "RUNNING 1", "QUEUED 2", "RUNNING 2", "SUCCEEDED 2"));
  EXPECT_THAT(job.checkpoint, HasSubstr("-2")) << "the second attempt has another fencing token";
  ExpectNumberedWithoutGap(id);
  for (const JobEvent& event : Events(id)) {
    const auto* change = std::get_if<StateChange>(&event.body);
    if (change == nullptr || change->attempt != 2 || change->state != JobState::kQueued) continue;
    EXPECT_EQ(DetailsOf(change->status).reason, Reason::kWorkerCrashed);
    EXPECT_THAT(std::string(change->status.message()), HasSubstr("signal 9"));
  }
}

TEST_F(JobQueueTest, NamesTheExitStatusOfAWorkerThatEndsWithoutAResult) {
  options.crashes_to_quarantine = 1;
  Open();
  const Job job = AwaitEnd(Submit("exit:41"));
  EXPECT_THAT(std::string(job.error.message()), HasSubstr("exit status 41"));
}

TEST_F(JobQueueTest, QuarantinesAJobThatCrashesThreeTimesAtTheSameStep) {
  Open();
  const std::string id = Submit("crash");
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kQuarantined);
  EXPECT_EQ(DetailsOf(job.error).reason, Reason::kJobCrashLoop);
  EXPECT_EQ(job.attempt, 3);
}

TEST_F(JobQueueTest, ACrashThatFollowsProgressStartsTheCountAnew) {
  Open();
  const std::string id =
      Submit("steps:1 crash_once:a steps:1 crash_once:b steps:1 crash_once:c steps:1 model");
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.attempt, 4);
}

TEST_F(JobQueueTest, KillsAWorkerThatGivesNoSignAndQueuesItsJobAgain) {
  clock = &fake;
  Open();
  const std::string id = Submit("pid steps:1 hang_once:a steps:1 model");
  const std::filesystem::path pid = JobDirectory(id) / "pid";
  ASSERT_TRUE(Eventually([&] { return IsStopped(pid); }));
  // Its last report is heard before the clock goes on: a later sign of life would start a new
  // lease.
  ASSERT_TRUE(Eventually([&] { return Get(id).checkpoint == "ckpt-1-1"; }));
  fake.Advance(options.lease);
  ASSERT_TRUE(Eventually([&] {
    fake.Advance(Milliseconds(1));  // past the wait for the next attempt
    return IsTerminal(Get(id).state);
  }));
  const Job job = Get(id);
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  bool hung = false;
  for (const JobEvent& event : Events(id)) {
    const auto* change = std::get_if<StateChange>(&event.body);
    hung = hung || (change != nullptr && !change->status.ok() &&
                    DetailsOf(change->status).reason == Reason::kWorkerHung);
  }
  EXPECT_TRUE(hung);
}

TEST_F(JobQueueTest, AWorkerThatIsLongerThanALeaseInStartingIsNotKilled) {
  const std::filesystem::path slow = directory.path() / "slow_worker";
  std::ofstream(slow) << "#!/bin/sh\nsleep 4\nexec " << options.worker_program << "\n";
  std::filesystem::permissions(slow, std::filesystem::perms::owner_all);
  options.worker_program = slow;
  options.heartbeat = std::chrono::milliseconds(100);
  options.lease = std::chrono::milliseconds(2'000);
  Open();
  const Job job = AwaitEnd(Submit("steps:1 model"));
  EXPECT_EQ(job.state, JobState::kSucceeded) << job.error;
  EXPECT_EQ(job.attempt, 1);
}

TEST_F(JobQueueTest, KillsAWorkerThatNeverGivesASign) {
  options.worker_program = "/usr/bin/yes";
  options.start_grace = std::chrono::milliseconds(300);
  options.retry_base = std::chrono::milliseconds(1);
  Open();
  const Job job = AwaitEnd(Submit("steps:1"));
  EXPECT_EQ(job.state, JobState::kQuarantined);
}

TEST_F(JobQueueTest, FailsAJobThatItsWorkerSaysHasFailed) {
  Open();
  const std::string id = Submit("steps:1 fail:DATASET_INVALID");
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(DetailsOf(job.error).reason, Reason::kDatasetInvalid);
  EXPECT_EQ(job.attempt, 1);
}

TEST_F(JobQueueTest, TriesAgainWhenTheFailureIsOneOfTheMoment) {
  Open();
  const Job job = AwaitEnd(Submit("fail:GPU_FAULT"));
  EXPECT_EQ(job.state, JobState::kQuarantined);
  EXPECT_EQ(job.attempt, 3);
}

TEST_F(JobQueueTest, FailsAJobWhoseWorkerTalksNonsense) {
  Open();
  const Job job = AwaitEnd(Submit("garbage idle"));
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(DetailsOf(job.error).reason, Reason::kInternal);
}

TEST_F(JobQueueTest, CancelsAQueuedJobAtOnce) {
  Open();
  const std::string running = Submit("hold");
  AwaitStep(running, 1);
  const std::string queued = Submit("steps:1 model");
  EXPECT_EQ(queue->Cancel(queued)->state, JobState::kCancelled);
  EXPECT_THAT(States(queued), ElementsAre("QUEUED 1", "CANCELLED 1"));
  EXPECT_EQ(DetailsOf(queue->Cancel(queued).status()).reason, Reason::kWrongState);
}

TEST_F(JobQueueTest, CancelsARunningJobAndKeepsItsCheckpoint) {
  Open();
  const std::string id = Submit("hold");
  AwaitStep(id, 2);
  const absl::StatusOr<Job> asked = queue->Cancel(id);
  ASSERT_TRUE(asked.ok()) << asked.status();
  EXPECT_TRUE(asked->cancel_requested);
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kCancelled);
  EXPECT_THAT(job.checkpoint, HasSubstr("ckpt-"));
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "CANCELLED 1"));
}

TEST_F(JobQueueTest, KillsACancelledWorkerThatDoesNotStop) {
  options.stop_grace = Milliseconds(100);
  Open();
  const std::string id = Submit("deaf");
  AwaitStep(id, 1);
  ASSERT_TRUE(queue->Cancel(id).ok());
  EXPECT_EQ(AwaitEnd(id).state, JobState::kCancelled);
}

TEST_F(JobQueueTest, CancelsAJobThatWaitsForItsNextAttempt) {
  options.retry_base = std::chrono::hours(1);
  Open();
  const std::string id = Submit("crash");
  ASSERT_TRUE(Eventually([&] { return Get(id).attempt == 2; }));
  EXPECT_EQ(Get(id).state, JobState::kQueued);
  EXPECT_EQ(queue->Cancel(id)->state, JobState::kCancelled);
}

TEST_F(JobQueueTest, WaitsLongerWithEachCrash) {
  clock = &fake;
  options.retry_base = std::chrono::seconds(4);
  Open();
  const std::string id = Submit("crash");
  ASSERT_TRUE(Eventually([&] { return Get(id).attempt == 2; }));
  fake.Advance(Milliseconds(3'999));
  const std::string other =
      Submit("steps:1 model");  // what runs meanwhile shows that the first one waits
  EXPECT_EQ(AwaitEnd(other).state, JobState::kSucceeded);
  EXPECT_EQ(Get(id).attempt, 2);
  EXPECT_EQ(Get(id).state, JobState::kQueued);
  fake.Advance(Milliseconds(1));
  ASSERT_TRUE(Eventually([&] { return Get(id).attempt == 3; }));
  fake.Advance(Milliseconds(7'999));
  EXPECT_EQ(AwaitEnd(Submit("steps:1 model")).state, JobState::kSucceeded);
  EXPECT_EQ(Get(id).state, JobState::kQueued);
  fake.Advance(Milliseconds(1));
  EXPECT_EQ(AwaitEnd(id).state, JobState::kQuarantined);
}

TEST_F(JobQueueTest, OneTrainingJobRunsAtATimeAndShortJobsBesideIt) {
  Open();
  const std::string first = Submit("hold");
  AwaitStep(first, 1);
  const std::string second = Submit("steps:1 model");
  const std::string init = Submit("model", JobKind::kInit);
  EXPECT_EQ(AwaitEnd(init).state, JobState::kSucceeded);
  EXPECT_EQ(Get(second).state, JobState::kQueued);
  ASSERT_TRUE(queue->Cancel(first).ok());
  EXPECT_EQ(AwaitEnd(second).state, JobState::kSucceeded);
}

TEST_F(JobQueueTest, TheSameRequestIdIsTheSameJob) {
  Open();
  const Job first = queue->Submit("me", "once", ScriptedJob("steps:1 model")).value();
  const Job again = queue->Submit("me", "once", ScriptedJob("steps:1 model")).value();
  EXPECT_EQ(again.id, first.id);
  const absl::StatusOr<Job> other = queue->Submit("me", "once", ScriptedJob("steps:2 model"));
  EXPECT_EQ(DetailsOf(other.status()).reason, Reason::kRequestIdReused);
  EXPECT_NE(queue->Submit("you", "once", ScriptedJob("steps:2 model"))->id, first.id);
  EXPECT_EQ(queue->List(std::nullopt, 10, "")->jobs.size(), 2u);
}

TEST_F(JobQueueTest, RefusesJobsOverTheLimitAndOneTooLarge) {
  limits.queued_jobs = 2;
  limits.job_spec_bytes = 1'000;
  options.train_slots = 0;
  Open();
  Submit("a");
  Submit("b");
  const absl::StatusOr<Job> third = queue->Submit("me", "", ScriptedJob("c"));
  EXPECT_EQ(DetailsOf(third.status()).reason, Reason::kQueueFull);
  EXPECT_TRUE(DetailsOf(third.status()).retry_after_ms.has_value());
  const absl::StatusOr<Job> large = queue->Submit("me", "", ScriptedJob(std::string(1'000, 'x')));
  EXPECT_EQ(DetailsOf(large.status()).reason, Reason::kMessageTooLarge);
}

TEST_F(JobQueueTest, ListsNewestFirstInPages) {
  options.train_slots = 0;
  Open();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.insert(ids.begin(), Submit("x"));
  ASSERT_TRUE(queue->Cancel(ids[1]).ok());
  std::vector<std::string> listed;
  std::string token;
  do {
    const JobPage page = queue->List(std::nullopt, 2, token).value();
    for (const Job& job : page.jobs) listed.push_back(job.id);
    token = page.next_page_token;
  } while (!token.empty());
  EXPECT_EQ(listed, ids);
  const JobPage cancelled = queue->List(JobState::kCancelled, 10, "").value();
  ASSERT_EQ(cancelled.jobs.size(), 1u);
  EXPECT_EQ(cancelled.jobs[0].id, ids[1]);
  EXPECT_EQ(DetailsOf(queue->List(std::nullopt, 10, "' OR 1").status()).reason,
            Reason::kInvalidArgument);
  EXPECT_EQ(DetailsOf(queue->List(std::nullopt, 0, "").status()).reason, Reason::kInvalidArgument);
}

TEST_F(JobQueueTest, SaysThatAJobIsUnknown) {
  Open();
  for (const std::string id : {"", "x", "../../etc", "00000000-0000-7000-8000-000000000000"}) {
    EXPECT_EQ(DetailsOf(queue->Get(id).status()).reason, Reason::kJobNotFound) << id;
    EXPECT_EQ(DetailsOf(queue->Cancel(id).status()).reason, Reason::kJobNotFound) << id;
    EXPECT_EQ(DetailsOf(queue->ReadEvents(id, 1, 1).status()).reason, Reason::kJobNotFound) << id;
  }
}

TEST_F(JobQueueTest, TellsSubscribersOfEachEventUntilTheyLeave) {
  options.train_slots = 0;
  Open();
  const std::string id = Submit("x");
  std::atomic<int> calls{0};
  std::unique_ptr<JobQueue::Subscription> subscription = queue->Subscribe(id, [&] { ++calls; });
  const std::string other = Submit("y");
  ASSERT_TRUE(queue->Cancel(other).ok());
  EXPECT_EQ(calls, 0);
  ASSERT_TRUE(queue->Cancel(id).ok());
  EXPECT_EQ(calls, 1);
  subscription.reset();
}

TEST_F(JobQueueTest, ASubscriberMayLeaveFromInsideItsCallAndOutliveTheQueue) {
  options.train_slots = 0;
  Open();
  const std::string id = Submit("x");
  std::unique_ptr<JobQueue::Subscription> own, late = queue->Subscribe(id, [] {});
  own = queue->Subscribe(id, [&] { own.reset(); });
  ASSERT_TRUE(queue->Cancel(id).ok());
  EXPECT_EQ(own, nullptr);
  queue.reset();
  late.reset();
}

TEST_F(JobQueueTest, ReadsEventsFromAnyNumber) {
  Open();
  const std::string id = Submit("notes:1000 model");
  AwaitEnd(id);
  const std::vector<JobEvent> all = Events(id);
  ASSERT_EQ(all.size(), 1003u);
  for (const int64_t from : {1, 2, 128, 129, 130, 700, 1003}) {
    const std::vector<JobEvent> some = queue->ReadEvents(id, from, 3).value();
    ASSERT_FALSE(some.empty());
    EXPECT_EQ(some.front().seq, from);
    EXPECT_LE(some.size(), 3u);
  }
  EXPECT_TRUE(queue->ReadEvents(id, 1004, 3)->empty());
}

TEST_F(JobQueueTest, ShutdownStopsWorkersAndTheNextStartGoesOn) {
  Open();
  const std::string id = Submit("steps:2 pid hold");
  AwaitStep(id, 3);
  queue->Shutdown(std::chrono::seconds(20));
  EXPECT_EQ(DetailsOf(queue->Submit("me", "", ScriptedJob("x")).status()).reason,
            Reason::kDraining);
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "QUEUED 2"));
  const int64_t steps = Get(id).step;
  queue.reset();
  Open();
  ASSERT_TRUE(Eventually([&] { return Get(id).step > steps; }));
  ASSERT_TRUE(queue->Cancel(id).ok());
  EXPECT_EQ(AwaitEnd(id).state, JobState::kCancelled);
  ExpectNumberedWithoutGap(id);
}

TEST_F(JobQueueTest, ShutdownKillsWhatDoesNotStopInTime) {
  Open();
  const std::string id = Submit("pid deaf");
  AwaitStep(id, 1);
  const pid_t pid = std::stoi(ReadText(JobDirectory(id) / "pid"));
  queue->Shutdown(Milliseconds(50));
  EXPECT_NE(kill(pid, 0), 0);
  EXPECT_THAT(States(id), ElementsAre("QUEUED 1", "RUNNING 1", "QUEUED 2"));
}

TEST_F(JobQueueTest, RefusesADamagedStoreAndLeavesItAsItIs) {
  WriteText(options.data_dir / "jobs.sqlite3", std::string(8'192, 'x'));
  models = ModelStore::Open(options.data_dir / "models", options.data_dir / "hf").value();
  datasets = DatasetStore::Open(options.data_dir / "datasets", limits, *clock).value();
  const auto opened = JobQueue::Open(options, limits, *models, *datasets, *clock);
  EXPECT_EQ(DetailsOf(opened.status()).reason, Reason::kJobStoreCorrupt) << opened.status();
  EXPECT_EQ(ReadText(options.data_dir / "jobs.sqlite3"), std::string(8'192, 'x'));
}

TEST_F(JobQueueTest, RefusesToMakeAStoreAnewOverJobs) {
  options.train_slots = 0;
  Open();
  Submit("x");
  queue.reset();
  std::filesystem::remove(options.data_dir / "jobs.sqlite3");
  const auto opened = JobQueue::Open(options, limits, *models, *datasets, *clock);
  EXPECT_EQ(DetailsOf(opened.status()).reason, Reason::kJobStoreCorrupt) << opened.status();
}

TEST_F(JobQueueTest, RefusesTheStoreOfANewerVersion) {
  Open();
  queue.reset();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open((options.data_dir / "jobs.sqlite3").c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version = 99", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  const auto opened = JobQueue::Open(options, limits, *models, *datasets, *clock);
  EXPECT_EQ(DetailsOf(opened.status()).reason, Reason::kUnsupported) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("99"));
}

TEST_F(JobQueueTest, RefusesAStoreThatAnotherProcessHasOpen) {
  Open();
  const auto second = JobQueue::Open(options, limits, *models, *datasets, *clock);
  EXPECT_EQ(DetailsOf(second.status()).reason, Reason::kWrongState) << second.status();
}

TEST_F(JobQueueTest, ATerminalJobKeepsItsCheckpointsAndLosesItsLeftovers) {
  Open();
  const std::string id = Submit("export", JobKind::kExport);
  AwaitEnd(id);
  queue.reset();
  WriteText(JobDirectory(id) / "ckpt-1-1" / "manifest.json", "{}");
  WriteText(JobDirectory(id) / ".tmp-export" / "part", "x");
  Open();
  EXPECT_FALSE(std::filesystem::exists(JobDirectory(id) / "export"));
  EXPECT_FALSE(std::filesystem::exists(JobDirectory(id) / ".tmp-export"));
  EXPECT_TRUE(std::filesystem::exists(JobDirectory(id) / "ckpt-1-1"));
}

TEST_F(JobQueueTest, ADiskThatRefusesRefusesTheJobAndNothingIsLeftOfIt) {
  options.train_slots = 0;
  Open();
  {
    const RefusedWrites refused;
    const absl::StatusOr<Job> job = queue->Submit("me", "once", ScriptedJob("x"));
    EXPECT_EQ(DetailsOf(job.status()).reason, Reason::kDiskFull) << job.status();
  }
  EXPECT_TRUE(std::filesystem::is_empty(options.data_dir / "jobs"));
  EXPECT_TRUE(queue->List(std::nullopt, 10, "")->jobs.empty());
  EXPECT_TRUE(queue->Submit("me", "once", ScriptedJob("x")).ok());
}

TEST_F(JobQueueTest, AJobWhoseEventsTheDiskRefusesFailsOnceItsEndCanBeWritten) {
  Open();
  const std::string id = Submit("pid hold");
  AwaitStep(id, 1);
  const pid_t pid = std::stoi(ReadText(JobDirectory(id) / "pid"));
  {
    const RefusedWrites refused;
    EXPECT_TRUE(Eventually([&] { return kill(pid, 0) != 0; }));
    EXPECT_EQ(Get(id).state, JobState::kRunning) << "an end that is not written is none";
  }
  const Job job = AwaitEnd(id);
  EXPECT_EQ(job.state, JobState::kFailed);
  EXPECT_EQ(DetailsOf(job.error).reason, Reason::kDiskFull) << job.error;
  ExpectNumberedWithoutGap(id);
}

// The daemon as a process of its own, so that it can be killed.
class KilledDaemonTest : public QueueFixture {
 protected:
  // Runs `work` with an open queue in a child that never returns from it.
  pid_t Fork(const std::function<void()>& work) {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    Open();
    work();
    pause();
    _exit(0);
  }

  void Kill(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
};

TEST_F(KilledDaemonTest, AnAcceptedJobOutlivesKillMinusNineAndSoDoItsEvents) {
  const std::filesystem::path told = directory.path() / "told";
  const pid_t daemon = Fork([&] {
    const Job job = queue->Submit("me", "once", ScriptedJob("steps:3 pid hold")).value();
    Eventually([&] { return Get(job.id).step >= 5; });
    WriteText(told.string() + ".part", job.id + " " + std::to_string(Get(job.id).last_seq));
    std::filesystem::rename(told.string() + ".part", told);
  });
  ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(told); }));
  Kill(daemon);
  std::istringstream words(ReadText(told));
  std::string id;
  int64_t last_seq = 0;
  words >> id >> last_seq;
  const pid_t worker = std::stoi(ReadText(JobDirectory(id) / "pid"));
  EXPECT_TRUE(Eventually([&] {
    const std::string stat = ReadText("/proc/" + std::to_string(worker) + "/stat");
    return stat.empty() || stat.find(") Z") != std::string::npos;
  })) << "the worker outlived its daemon";
  Open();
  EXPECT_GE(Get(id).last_seq, last_seq);
  EXPECT_EQ(queue->Submit("me", "once", ScriptedJob("steps:3 pid hold"))->id, id);
  ASSERT_TRUE(
      Eventually([&] { return Get(id).state == JobState::kRunning && Get(id).attempt == 2; }));
  ASSERT_TRUE(queue->Cancel(id).ok());
  EXPECT_EQ(AwaitEnd(id).state, JobState::kCancelled);
  EXPECT_THAT(States(id),
              ElementsAre("QUEUED 1", "RUNNING 1", "QUEUED 2", "RUNNING 2", "CANCELLED 2"));
  ExpectNumberedWithoutGap(id);
}

// A stopped process cannot notice that its socket closed: the kernel kills it.
TEST_F(KilledDaemonTest, AStoppedWorkerDiesWithItsDaemon) {
  const std::filesystem::path told = directory.path() / "told";
  const pid_t daemon = Fork([&] {
    const Job job = queue->Submit("me", "", ScriptedJob("pid hang")).value();
    WriteText(told.string() + ".part", job.id);
    std::filesystem::rename(told.string() + ".part", told);
  });
  ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(told); }));
  const std::filesystem::path file = JobDirectory(ReadText(told)) / "pid";
  ASSERT_TRUE(Eventually([&] { return IsStopped(file); }));
  const std::string stat = "/proc/" + ReadText(file) + "/stat";
  Kill(daemon);
  EXPECT_TRUE(Eventually([&] {
    const std::string now = ReadText(stat);
    return now.empty() || now.find(") Z") != std::string::npos;
  }));
}

TEST_F(KilledDaemonTest, ACancellationOutlivesKillMinusNine) {
  const std::filesystem::path told = directory.path() / "told";
  const pid_t daemon = Fork([&] {
    const Job job = queue->Submit("me", "", ScriptedJob("deaf")).value();
    Eventually([&] { return Get(job.id).step >= 1; });
    const bool asked = queue->Cancel(job.id).ok();
    WriteText(told.string() + ".part", asked ? job.id : "");
    std::filesystem::rename(told.string() + ".part", told);
  });
  ASSERT_TRUE(Eventually([&] { return std::filesystem::exists(told); }));
  Kill(daemon);
  const std::string id = ReadText(told);
  Open();
  EXPECT_EQ(Get(id).state, JobState::kCancelled);
}

}  // namespace
}  // namespace lfm2
