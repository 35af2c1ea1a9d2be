#include "server/jobs/queue/job_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/errors.h"
#include "server/jobs/wire/codec.h"
#include "tests/server/fakes/temp_directory.h"
#include "tests/server/jobs/queue/refused_writes.h"

namespace lfm2 {
namespace {

class JobStoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<JobStore> Open() {
    return JobStore::Open(file, directory.path() / "jobs").value();
  }

  // A job with its first event.
  JobRecord Added(JobStore& store, const std::string& id) {
    JobRecord record;
    record.job.id = id;
    record.job.last_seq = 1;
    EXPECT_TRUE(store.Insert(record, {1, 5, StateChange{}}).ok());
    return record;
  }

  absl::Status Append(JobStore& store, JobRecord& record, const JobEventBody& body,
                      Kept kept = Kept::kInKernel) {
    JobRecord next = record;
    const JobEvent event{next.job.last_seq + 1, 6, body};
    ApplyEvent(event, next);
    const absl::Status status = store.Append(next, event, kept);
    if (status.ok()) record = next;
    return status;
  }

  // In a process of its own: never returns. Tells each number that Append has returned for.
  [[noreturn]] void AppendUntilKilled(const std::string& id, int told) {
    const absl::StatusOr<std::unique_ptr<JobStore>> store =
        JobStore::Open(file, directory.path() / "jobs");
    if (!store.ok()) _exit(1);
    JobRecord record = Added(**store, id);
    for (int64_t step = 1;; ++step) {
      const Kept kept = step % 50 == 0 ? Kept::kOnDisk : Kept::kInKernel;
      if (!Append(**store, record, StepMetrics{step}, kept).ok()) _exit(2);
      if (write(told, &record.job.last_seq, sizeof(int64_t)) < 0) _exit(3);
    }
  }

  static std::vector<JobEvent> Read(JobStore& store, const std::string& id, int64_t from, int max) {
    std::vector<JobEvent> events;
    const std::vector<std::string> stored = store.Events(id, from, max).value();
    for (const std::string& bytes : stored) {
      events.push_back(DecodeJobEvent(bytes).value());
    }
    return events;
  }

  static std::string TextOf(const JobEvent& event) { return std::get<Note>(event.body).text; }

  TempDirectory directory;
  const std::filesystem::path file = directory.path() / "jobs.sqlite3";
};

TEST_F(JobStoreTest, NumbersEventsFromOneAndGoesOnAfterReopening) {
  {
    const std::unique_ptr<JobStore> store = Open();
    JobRecord record = Added(*store, "a");
    ASSERT_TRUE(Append(*store, record, Note{"b"}).ok());
  }
  const std::unique_ptr<JobStore> store = Open();
  JobRecord record = store->Find("a").value();
  ASSERT_TRUE(Append(*store, record, Note{"c"}, Kept::kOnDisk).ok());
  const std::vector<JobEvent> events = Read(*store, "a", 1, 10);
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].at_ms, 5);
  EXPECT_EQ(events[1].seq, 2);
  EXPECT_EQ(events[1].at_ms, 6);
  EXPECT_EQ(TextOf(events[2]), "c");
}

TEST_F(JobStoreTest, ReadsEachJobsEventsFromAnyNumber) {
  const std::unique_ptr<JobStore> store = Open();
  JobRecord one = Added(*store, "a"), other = Added(*store, "b");
  for (int i = 2; i <= 1000; ++i) {
    ASSERT_TRUE(Append(*store, one, Note{std::to_string(i)}).ok());
    ASSERT_TRUE(Append(*store, other, Note{"other"}).ok());
  }
  for (int from = 2; from <= 1000; from += 37) {
    const std::vector<JobEvent> events = Read(*store, "a", from, 2);
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(TextOf(events[0]), std::to_string(from));
    EXPECT_LE(events.size(), 2u);
  }
  EXPECT_TRUE(Read(*store, "a", 1001, 5).empty());
  EXPECT_EQ(Read(*store, "a", -3, 1).at(0).seq, 1);
}

TEST_F(JobStoreTest, ANumberIsGivenOnce) {
  const std::unique_ptr<JobStore> store = Open();
  const JobRecord record = Added(*store, "a");
  JobRecord changed = record;
  changed.job.step = 7;
  EXPECT_FALSE(store->Append(changed, {1, 5, Note{"again"}}, Kept::kOnDisk).ok());
  EXPECT_EQ(store->Find("a")->job.step, 0) << "neither the event nor its row";
  EXPECT_EQ(Read(*store, "a", 1, 10).size(), 1u);
}

TEST_F(JobStoreTest, AFullDiskLeavesWhatWasThere) {
  const std::unique_ptr<JobStore> store = Open();
  JobRecord record = Added(*store, "a");
  for (const Kept kept : {Kept::kInKernel, Kept::kOnDisk}) {
    const RefusedWrites refused;
    const absl::Status status = Append(*store, record, StepMetrics{9}, kept);
    EXPECT_EQ(DetailsOf(status).reason, Reason::kDiskFull) << status;
  }
  EXPECT_EQ(store->Find("a")->job.step, 0);
  EXPECT_EQ(Read(*store, "a", 1, 10).size(), 1u);
  ASSERT_TRUE(Append(*store, record, StepMetrics{9}).ok());
  EXPECT_TRUE(store->Sync().ok());
  EXPECT_EQ(store->Find("a")->job.step, 9);
}

TEST_F(JobStoreTest, ADamagedEventDoesNotKeepTheJobsFromOpening) {
  {
    const std::unique_ptr<JobStore> store = Open();
    JobRecord record = Added(*store, "a");
    for (int i = 0; i < 2000; ++i) ASSERT_TRUE(Append(*store, record, Note{"DAMAGE"}).ok());
  }
  std::string bytes = ReadText(file);
  const size_t page = bytes.rfind("DAMAGE") / 4096 * 4096;
  for (size_t i = 0; i < 64; ++i) bytes[page + i] = '\xff';
  WriteText(file, bytes);
  const std::unique_ptr<JobStore> store = Open();
  EXPECT_EQ(store->Find("a")->job.last_seq, 2001);
  EXPECT_EQ(DetailsOf(store->Events("a", 1, 10'000).status()).reason, Reason::kJobStoreCorrupt);
}

// Killed at any moment, the row stands where its newest event does, and what Append returned for is
// there.
TEST_F(JobStoreTest, KilledAtAnyMomentTheRowStandsWhereItsEventsDo) {
  for (int round = 0; round < 20; ++round) {
    const std::string id = "job" + std::to_string(round);
    int told[2];
    ASSERT_EQ(pipe(told), 0);
    const pid_t child = fork();
    if (child == 0) AppendUntilKilled(id, told[1]);
    close(told[1]);
    int64_t seen = 0;
    ASSERT_GT(read(told[0], &seen, sizeof(seen)), 0);
    std::this_thread::sleep_for(std::chrono::microseconds(997 * round));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    while (read(told[0], &seen, sizeof(seen)) > 0) {
    }
    close(told[0]);
    const std::unique_ptr<JobStore> store = Open();
    const JobRecord record = store->Find(id).value();
    EXPECT_GE(record.job.last_seq, seen);
    EXPECT_EQ(record.job.step, record.job.last_seq - 1);
    EXPECT_EQ(Read(*store, id, 1, 1'000'000).size(), static_cast<size_t>(record.job.last_seq));
  }
}

}  // namespace
}  // namespace lfm2
