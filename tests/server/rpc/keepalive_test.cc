// What the settings of rpc_server.cc and client.cc promise: silence never kills a call, a peer that
// is gone is noticed.
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <thread>

#include "tests/server/rpc/raw_connection.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

class KeepaliveTest : public RpcTest {
 protected:
  // While the second token is made, `silence` runs and the stream says nothing.
  void StartWith(int64_t least_ms, const std::function<void()>& silence) {
    limits_.keepalive_ms = 100;
    limits_.keepalive_timeout_ms = 1'000;
    limits_.keepalive_least_ms = least_ms;
    script_.before_step = [silence](std::span<const StepItem> items) {
      if (items[0].index == 1) silence();
    };
    Start();
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 100);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 1'000);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    Connect(grpc::InsecureChannelCredentials(), arguments);
  }
};

// The library asks once a second at most and by its own clock: many intervals take their time.
TEST_F(KeepaliveTest, LongSilenceDoesNotEndACall) {
  StartWith(50, [] { std::this_thread::sleep_for(std::chrono::milliseconds(5'000)); });
  const Answer answer = Generate(Ask("x", 3));
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens, 3);
}

// Shows that the test above asks often enough to matter.
TEST_F(KeepaliveTest, AClientThatAsksTooOftenIsSentAway) {
  std::promise<void> sent_away;
  const std::shared_future<void> told = sent_away.get_future().share();
  StartWith(60'000, [told] { told.wait_for(std::chrono::milliseconds(5'000)); });
  EXPECT_FALSE(Generate(Ask("x", 3)).status.ok());
  sent_away.set_value();
}

TEST_F(KeepaliveTest, TheClientsOwnSettingsAreWithinWhatTheServerAllows) {
  EXPECT_GT(kDefaultLimits.keepalive_ms, kDefaultLimits.keepalive_least_ms);
}

TEST_F(KeepaliveTest, APeerThatNeverAnswersIsLetGo) {
  limits_.keepalive_ms = 100;
  limits_.keepalive_timeout_ms = 200;
  Start();
  RawConnection silent(server_->address());
  silent.SayHello();
  EXPECT_TRUE(silent.IsClosedWithin(std::chrono::milliseconds(10'000)));
}

}  // namespace
}  // namespace lfm2
