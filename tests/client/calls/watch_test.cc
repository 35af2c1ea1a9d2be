#include "client/calls/watch.h"

#include <gtest/gtest.h>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

void AddEvents(FakeServer& server, int64_t count) {
  for (int64_t seq = 1; seq <= count; ++seq) {
    v1::JobEvent event;
    event.set_seq(seq);
    event.mutable_metrics()->set_step(seq);
    event.mutable_metrics()->set_loss(5.0 / static_cast<double>(seq));
    server.events.push_back(event);
  }
}

class Watch : public testing::Test {
 protected:
  Watch() : console_{in_, out_, err_}, session_(console_, interrupts_) {
    session_.options.server = server_.address();
    options_.job = "job-1";
    options_.first_backoff_ms = options_.longest_backoff_ms = 1;
  }

  absl::Status Run() {
    return WatchJob(session_, options_, [this](const v1::JobEvent& event) {
      seen_.push_back(event.seq());
      return absl::OkStatus();
    });
  }
  std::vector<int64_t> Froms() const {
    std::vector<int64_t> froms;
    for (const v1::WatchJobRequest& request : server_.captured.watch)
      froms.push_back(request.from_seq());
    return froms;
  }

  FakeServer server_;
  std::istringstream in_;
  std::ostringstream out_, err_;
  Console console_;
  Interrupts interrupts_;
  Session session_;
  WatchOptions options_;
  std::vector<int64_t> seen_;
};

using Seqs = std::vector<int64_t>;

TEST_F(Watch, ResumesAfterALostConnectionWithoutGapOrRepetition) {
  AddEvents(server_, 6);
  server_.watch_breaks = {2, 0, 1};
  EXPECT_TRUE(Run().ok());
  EXPECT_EQ(seen_, (Seqs{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(Froms(), (Seqs{1, 3, 3, 4}));
}

TEST_F(Watch, DropsWhatAServerSendsTwice) {
  AddEvents(server_, 4);
  server_.watch_breaks = {3};
  server_.watch_overlap = 2;
  EXPECT_TRUE(Run().ok());
  EXPECT_EQ(seen_, (Seqs{1, 2, 3, 4}));
}

TEST_F(Watch, StartsAtTheGivenEvent) {
  AddEvents(server_, 4);
  options_.from_seq = 3;
  EXPECT_TRUE(Run().ok());
  EXPECT_EQ(seen_, (Seqs{3, 4}));
}

TEST_F(Watch, AMissingEventIsAnErrorAndNotSkipped) {
  AddEvents(server_, 4);
  server_.events.erase(server_.events.begin() + 1);
  options_.attempts = 3;
  const absl::Status status = Run();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find("event 2 of job job-1 is missing"), absl::string_view::npos);
  EXPECT_EQ(seen_, (Seqs{1}));
}

TEST_F(Watch, GivesUpAfterTheLastAttempt) {
  AddEvents(server_, 4);
  server_.watch_breaks = {1, 0, 0, 0, 0, 0};
  options_.attempts = 3;
  EXPECT_EQ(Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.captured.watch.size(), 4u);
}

TEST_F(Watch, AServerThatIsNotThereFailsAtOnceUnlessTheJobWasJustStarted) {
  AddEvents(server_, 1);
  server_.watch_breaks = {0, 0};
  EXPECT_EQ(Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_.captured.watch.size(), 1u);
  options_.first_call = Lost::kReconnect;
  EXPECT_TRUE(Run().ok());
  EXPECT_EQ(server_.captured.watch.size(), 3u);
}

TEST_F(Watch, AStreamThatEndsBeforeTheJobIsTakenUpAgain) {
  AddEvents(server_, 2);
  server_.job.set_state(v1::JOB_STATE_RUNNING);
  options_.attempts = 2;
  EXPECT_EQ(Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(seen_, (Seqs{1, 2}));
}

TEST_F(Watch, OtherErrorsStandAtOnce) {
  server_.errors["WatchJob"] =
      DetailedStatus(grpc::StatusCode::NOT_FOUND, "no job", "JOB_NOT_FOUND");
  EXPECT_EQ(Run().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(server_.captured.watch.size(), 1u);
}

TEST_F(Watch, AnEventIsOneFlatObject) {
  v1::JobEvent event;
  event.set_seq(7);
  event.mutable_state()->set_state(v1::JOB_STATE_RUNNING);
  EXPECT_EQ(EventToJson(event)["type"], "state");
  EXPECT_EQ(EventToJson(event)["state"], "running");
  event.mutable_metrics()->set_step(5);
  event.mutable_metrics()->set_tokens_per_second(1.5);
  const Json metrics = EventToJson(event);
  for (const char* key : {"seq", "type", "step", "loss", "lr", "tokens_per_second", "grad_norm"}) {
    EXPECT_TRUE(metrics.contains(key)) << key;
  }
  event.set_note("fell back");
  EXPECT_EQ(EventToJson(event)["text"], "fell back");
}

TEST_F(Watch, TheVerbPrintsALineForEachEventAndFailsWithTheJob) {
  AddEvents(server_, 3);
  server_.watch_breaks = {1};
  Outcome outcome = RunCtl(server_, {"train", "watch", "job-1", "--from", "2", "-o", "jsonl"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  Seqs seqs;
  for (std::string line; std::getline(lines, line);) seqs.push_back(Json::parse(line)["seq"]);
  EXPECT_EQ(seqs, (Seqs{2, 3}));
  server_.job.set_state(v1::JOB_STATE_FAILED);
  server_.job.mutable_error()->set_reason("TRAINING_DIVERGED");
  outcome = RunCtl(server_, {"train", "watch", "job-1"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("TRAINING_DIVERGED"), std::string::npos);
}

}  // namespace
}  // namespace lfm2
