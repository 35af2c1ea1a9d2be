#include "server/rpc/calls/watch_call.h"

#include <gtest/gtest.h>

#include "tests/server/rpc/training_fixture.h"

namespace lfm2 {
namespace {

using WatchCallTest = TrainingTest;

TEST_F(WatchCallTest, ReplaysEventsAndFollowsThemWithoutAGap) {
  Start();
  v1::StartTrainingResponse started;
  ASSERT_TRUE(StartJob(Ask(), &started).ok());
  const std::string id = started.job().id();
  for (int i = 1; i <= 300; ++i) jobs_.Append(id, Step(i));
  std::thread worker([&] {
    for (int i = 301; i <= 600; ++i) jobs_.Append(id, Step(i));
    jobs_.Append(id, Ended(JobState::kSucceeded, absl::OkStatus(), "v1"));
  });
  grpc::Status status;
  const std::vector<v1::JobEvent> events = Watch(id, 1, &status);
  worker.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(events.size(), 602U);
  for (size_t i = 0; i < events.size(); ++i)
    EXPECT_EQ(events[i].seq(), static_cast<int64_t>(i) + 1);
  EXPECT_EQ(events.back().state().state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(events.back().state().result_version(), "v1");
}

TEST_F(WatchCallTest, ReplaysALongHistoryThroughASmallBuffer) {
  limits_.stream_buffer_events = 3;
  Start();
  v1::StartTrainingResponse started;
  ASSERT_TRUE(StartJob(Ask(), &started).ok());
  for (int i = 1; i <= 500; ++i) jobs_.Append(started.job().id(), Step(i));
  jobs_.Append(started.job().id(), Ended(JobState::kSucceeded));
  grpc::Status status;
  EXPECT_EQ(Watch(started.job().id(), 1, &status).size(), 502U);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(WatchCallTest, WatchesFromANumberOn) {
  Start();
  v1::StartTrainingResponse started;
  ASSERT_TRUE(StartJob(Ask(), &started).ok());
  const std::string id = started.job().id();
  for (int i = 1; i <= 10; ++i) jobs_.Append(id, Step(i));
  jobs_.Append(id, Ended(JobState::kFailed, Error(Reason::kTrainingDiverged, "NaN at step 10")));
  grpc::Status status;
  std::vector<v1::JobEvent> events = Watch(id, 11, &status);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].metrics().step(), 10);
  EXPECT_EQ(events[1].state().error().reason(), "TRAINING_DIVERGED");
  EXPECT_TRUE(Watch(id, 1000, &status).empty());
  EXPECT_TRUE(status.ok());
  (void)Watch(id, 0, &status);
  EXPECT_EQ(FieldsOf(status), std::vector<std::string>{"from_seq"});
  (void)Watch("job-99", 1, &status);
  EXPECT_EQ(ReasonOf(status), "JOB_NOT_FOUND");
}

TEST_F(WatchCallTest, MissesNothingThatComesWhileItReads) {
  jobs_.after_empty_read = [this](const std::string& id) {
    jobs_.Append(id, Ended(JobState::kSucceeded));
  };
  Start();
  v1::StartTrainingResponse started;
  ASSERT_TRUE(StartJob(Ask(), &started).ok());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::WatchJobRequest request;
  request.set_id(started.job().id());
  request.set_from_seq(2);  // so that no write of an earlier event wakes the reader
  const auto reader = training_->WatchJob(&context, request);
  v1::JobEvent event;
  int64_t last = 0;
  while (reader->Read(&event)) last = event.seq();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(last, 2);
}

TEST_F(WatchCallTest, ManyWatchersComeAndGo) {
  Start();
  v1::StartTrainingResponse started;
  ASSERT_TRUE(StartJob(Ask(), &started).ok());
  const std::string id = started.job().id();
  std::atomic<bool> stop{false};
  std::thread worker([&] {
    for (int i = 1; !stop; ++i) {
      jobs_.Append(id, Step(i));
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  std::vector<std::thread> watchers;
  watchers.reserve(8);
  for (int t = 0; t < 8; ++t) {
    watchers.emplace_back([&] {
      for (int i = 0; i < 10; ++i) {
        grpc::ClientContext context;
        v1::WatchJobRequest request;
        request.set_id(id);
        const auto reader = training_->WatchJob(&context, request);
        v1::JobEvent event;
        for (int n = 1; n <= 10; ++n) {
          if (!reader->Read(&event)) break;
          EXPECT_EQ(event.seq(), n);
        }
        context.TryCancel();
        while (reader->Read(&event)) {
        }
        (void)reader->Finish();
      }
    });
  }
  for (std::thread& watcher : watchers) watcher.join();
  stop = true;
  worker.join();
}

}  // namespace
}  // namespace lfm2
