#include "server/engine/waiting_room.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

Limits Small() {
  Limits limits;
  limits.waiting_requests = 4;
  limits.waiting_requests_per_caller = 2;
  limits.waiting_tokens = 100;
  limits.waiting_tokens_per_caller = 50;
  return limits;
}

Reason ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

TEST(WaitingRoom, TakesAsManyRequestsAsTheLimitAndNotOneMore) {
  WaitingRoom room(Small());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(room.Enter("", 1).ok());
  const absl::Status status = room.Enter("", 1);
  EXPECT_EQ(ReasonOf(status), Reason::kQueueFull);
  EXPECT_TRUE(DetailsOf(status).retry_after_ms.has_value());
  EXPECT_EQ(DetailsOf(status).metadata.at("limit"), "4");
  EXPECT_EQ(room.requests(), 4);
}

TEST(WaitingRoom, TakesAsManyRequestsOfACallerAsItsOwnLimit) {
  WaitingRoom room(Small());
  EXPECT_TRUE(room.Enter("ann", 1).ok());
  EXPECT_TRUE(room.Enter("ann", 1).ok());
  const absl::Status status = room.Enter("ann", 1);
  EXPECT_EQ(ReasonOf(status), Reason::kTooManyRequests);
  EXPECT_TRUE(DetailsOf(status).retry_after_ms.has_value());
  EXPECT_TRUE(room.Enter("bob", 1).ok());
}

TEST(WaitingRoom, CountsPromptTokensOfAllAndOfEach) {
  WaitingRoom room(Small());
  EXPECT_TRUE(room.Enter("ann", 50).ok());
  EXPECT_EQ(ReasonOf(room.Enter("ann", 1)), Reason::kTooManyRequests);
  EXPECT_TRUE(room.Enter("bob", 50).ok());
  EXPECT_EQ(ReasonOf(room.Enter("eve", 1)), Reason::kQueueFull);
  EXPECT_EQ(room.tokens(), 100);
}

TEST(WaitingRoom, TakesAnyOneRequestWhenNobodyWaits) {
  WaitingRoom room(Small());
  EXPECT_TRUE(room.Enter("ann", 1'000'000).ok());
  EXPECT_EQ(ReasonOf(room.Enter("bob", 1)), Reason::kQueueFull);
}

TEST(WaitingRoom, SaysBeforehandWhatItWouldSay) {
  WaitingRoom room(Small());
  EXPECT_TRUE(room.Check("ann", 0).ok());
  ASSERT_TRUE(room.Enter("ann", 1).ok());
  ASSERT_TRUE(room.Enter("ann", 1).ok());
  EXPECT_EQ(ReasonOf(room.Check("ann", 0)), Reason::kTooManyRequests);
  EXPECT_TRUE(room.Check("bob", 0).ok());
}

TEST(WaitingRoom, HasRoomAgainWhenSomebodyLeaves) {
  WaitingRoom room(Small());
  ASSERT_TRUE(room.Enter("ann", 25).ok());
  ASSERT_TRUE(room.Enter("ann", 25).ok());
  room.Leave("ann", 25, SteadyTime(milliseconds(5)));
  EXPECT_TRUE(room.Enter("ann", 25).ok());
  for (int i = 0; i < 2; ++i) room.Leave("ann", 25, SteadyTime(milliseconds(5)));
  EXPECT_EQ(room.requests(), 0);
  EXPECT_EQ(room.tokens(), 0);
}

TEST(WaitingRoom, NamesADelayThatGrowsWithWhatWaitsAndHowSlowlyItLeaves) {
  Limits limits;
  limits.waiting_requests = 100;
  WaitingRoom room(limits);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(room.Enter("", 1).ok());
  EXPECT_EQ(*DetailsOf(room.Check("", 0)).retry_after_ms, 100);
  for (int i = 1; i <= 60; ++i) {
    room.Leave("", 1, SteadyTime(milliseconds(i * 50)));
    ASSERT_TRUE(room.Enter("", 1).ok());
  }
  EXPECT_NEAR(static_cast<double>(*DetailsOf(room.Check("", 0)).retry_after_ms), 5000, 500);
}

}  // namespace
}  // namespace lfm2
