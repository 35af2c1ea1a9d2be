// A job queue with the scripted worker (fake_worker_main.cc) in a directory of its own.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/errors.h"
#include "server/jobs/queue/job_queue.h"
#include "tests/fakes/fake_clock.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {

// Looks until `done` holds; false after half a minute.
inline bool Eventually(const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    poll(nullptr, 0, 2);
  }
  return true;
}

inline JobSpec ScriptedJob(const std::string& script, JobKind kind = JobKind::kTrain) {
  JobSpec spec;
  spec.kind = kind;
  spec.model_name = "made";
  spec.labels["script"] = script;
  return spec;
}

inline JobQueueOptions FastOptions(const std::filesystem::path& data_dir) {
  JobQueueOptions options;
  options.data_dir = data_dir;
  options.worker_program = std::filesystem::path(LFM2_BINARY_DIR) / "fake_worker";
  options.heartbeat = std::chrono::milliseconds(20);
  options.lease = std::chrono::seconds(20);  // a loaded machine must not look like a hung worker
  options.stop_grace = std::chrono::seconds(20);
  options.retry_base = std::chrono::milliseconds(1);
  return options;
}

class QueueFixture : public ::testing::Test {
 protected:
  QueueFixture() : options(FastOptions(directory.path() / "data")) {
    std::filesystem::create_directories(options.data_dir);
  }

  // Tests that change the options or the limits do it before.
  void Open() {
    const std::filesystem::path root = options.data_dir;
    models = ModelStore::Open(root / "models", root / "hf").value();
    datasets = DatasetStore::Open(root / "datasets", limits, *clock).value();
    absl::StatusOr<std::unique_ptr<JobQueue>> opened =
        JobQueue::Open(options, limits, *models, *datasets, *clock);
    ASSERT_TRUE(opened.ok()) << opened.status();
    queue = *std::move(opened);
  }

  std::string Submit(const std::string& script, JobKind kind = JobKind::kTrain) {
    const absl::StatusOr<Job> job = queue->Submit("me", "", ScriptedJob(script, kind));
    EXPECT_TRUE(job.ok()) << job.status();
    return job.ok() ? job->id : "";
  }

  Job Get(const std::string& id) { return queue->Get(id).value(); }

  Job AwaitEnd(const std::string& id) {
    EXPECT_TRUE(Eventually([&] { return IsTerminal(Get(id).state); }))
        << JobStateName(Get(id).state);
    return Get(id);
  }

  void AwaitStep(const std::string& id, int64_t step) {
    ASSERT_TRUE(Eventually([&] { return Get(id).step >= step; })) << Get(id).step;
  }

  std::vector<JobEvent> Events(const std::string& id) {
    return queue->ReadEvents(id, 1, 1'000'000).value();
  }

  // "QUEUED 1", "RUNNING 1", …
  std::vector<std::string> States(const std::string& id) {
    std::vector<std::string> states;
    for (const JobEvent& event : Events(id)) {
      if (const auto* change = std::get_if<StateChange>(&event.body)) {
        states.push_back(std::string(JobStateName(change->state)) + " " +
                         std::to_string(change->attempt));
      }
    }
    return states;
  }

  void ExpectNumberedWithoutGap(const std::string& id) {
    int64_t seq = 0;
    for (const JobEvent& event : Events(id)) EXPECT_EQ(event.seq, ++seq);
    EXPECT_EQ(Get(id).last_seq, seq);
  }

  std::filesystem::path JobDirectory(const std::string& id) {
    return options.data_dir / "jobs" / id;
  }

  TempDirectory directory;
  JobQueueOptions options;
  Limits limits;
  FakeClock fake;  // outlives the queue, whose thread reads it to the end
  Clock* clock = &Clock::Real();
  std::unique_ptr<ModelStore> models;
  std::unique_ptr<DatasetStore> datasets;
  std::unique_ptr<JobQueue> queue;
};

}  // namespace lfm2
