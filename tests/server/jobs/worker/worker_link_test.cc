#include "server/jobs/worker/worker_link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <optional>

#include "base/errors.h"
#include "server/jobs/wire/codec.h"
#include "server/jobs/wire/worker_channel.h"
#include "tests/fakes/fake_clock.h"
#include "tests/server/jobs/queue/queue_fixture.h"

namespace lfm2 {
namespace {

// A link whose daemon is the test.
class WorkerLinkTest : public ::testing::Test {
 protected:
  void Connect(std::chrono::milliseconds heartbeat) {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    daemon.emplace(sockets[0]);
    Order order;
    order.fencing_token = 7;
    order.heartbeat = heartbeat;
    order.lease = std::chrono::milliseconds(100);
    daemon->Send(EncodeToWorker(order));
    WorkerLinkOptions options;
    options.clock = &clock;
    options.on_lost = [this] { lost = true; };
    link = WorkerLink::Connect(sockets[1], options).value();
  }

  // How many heartbeats came since the last look.
  int TakeHeartbeats() {
    std::vector<std::string> messages;
    EXPECT_TRUE(daemon->Receive(messages).ok());
    int beats = 0;
    for (const std::string& bytes : messages) {
      beats += std::holds_alternative<Heartbeat>(DecodeFromWorker(bytes).value());
    }
    return beats;
  }

  FakeClock clock;
  std::atomic<bool> lost{false};
  std::optional<WorkerChannel> daemon;
  std::unique_ptr<WorkerLink> link;
};

constexpr std::chrono::milliseconds kRare =
    std::chrono::hours(1);  // only the first heartbeat comes
constexpr std::chrono::milliseconds kOften{1};

TEST_F(WorkerLinkTest, MayPublishWhileTheLeaseOfItsOrderLasts) {
  Connect(kRare);
  EXPECT_TRUE(link->MayPublish());
  clock.Advance(std::chrono::milliseconds(99));
  EXPECT_TRUE(link->MayPublish());
  clock.Advance(std::chrono::milliseconds(1));
  EXPECT_FALSE(link->MayPublish());
}

// What a stopped process finds in its socket when it wakes is an answer to a heartbeat of long ago.
TEST_F(WorkerLinkTest, AnAnswerToAnOldHeartbeatGivesNoLease) {
  Connect(kRare);
  ASSERT_TRUE(Eventually([&] { return TakeHeartbeats() == 1; }));
  clock.Advance(std::chrono::milliseconds(200));
  daemon->Send(EncodeToWorker(LeaseGrant{7}));
  daemon->Send(EncodeToWorker(StopRequest{}));
  ASSERT_TRUE(
      Eventually([&] { return link->StopRequested(); }));  // so the grant before it was read
  EXPECT_FALSE(link->MayPublish());
}

TEST_F(WorkerLinkTest, AFreshAnswerGivesTheLeaseBack) {
  Connect(kOften);
  clock.Advance(std::chrono::milliseconds(200));
  EXPECT_FALSE(link->MayPublish());
  EXPECT_TRUE(Eventually([&] {
    for (int i = TakeHeartbeats(); i > 0; --i) daemon->Send(EncodeToWorker(LeaseGrant{7}));
    return link->MayPublish();
  }));
}

TEST_F(WorkerLinkTest, AnotherTokenGivesNoLease) {
  Connect(kRare);
  ASSERT_TRUE(Eventually([&] { return TakeHeartbeats() == 1; }));
  clock.Advance(std::chrono::milliseconds(60));
  daemon->Send(EncodeToWorker(LeaseGrant{8}));
  daemon->Send(EncodeToWorker(StopRequest{}));
  ASSERT_TRUE(Eventually([&] { return link->StopRequested(); }));
  clock.Advance(std::chrono::milliseconds(60));
  EXPECT_FALSE(link->MayPublish());
}

TEST_F(WorkerLinkTest, NoticesThatTheDaemonIsGone) {
  Connect(kRare);
  daemon.reset();
  EXPECT_TRUE(Eventually([&] { return lost.load(); }));
}

TEST_F(WorkerLinkTest, RefusesALinkWithoutAnOrder) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  {
    WorkerChannel early(sockets[0]);
    early.Send(EncodeToWorker(StopRequest{}));
  }
  WorkerLinkOptions options;
  options.on_lost = [] {};
  EXPECT_FALSE(WorkerLink::Connect(sockets[1], options).ok());
}

TEST(WorkerProgram, RunByHandItSaysWhatItIs) {
  const std::string program = std::string(LFM2_BINARY_DIR) + "/fake_worker";
  const pid_t pid = fork();
  if (pid == 0) {
    close(3);
    execl(program.c_str(), program.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 2);
}

}  // namespace
}  // namespace lfm2
