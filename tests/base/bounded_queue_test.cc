#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{60'000};

TEST(BoundedQueue, GivesItemsInTheirOrder) {
  BoundedQueue<int> queue(3);
  for (int i = 1; i <= 3; ++i) {
    int item = i;
    EXPECT_TRUE(queue.TryPush(item));
  }
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(queue.Pop(kLong), i);
}

TEST(BoundedQueue, RefusesOneMoreThanItsCapacityAndLeavesTheItem) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  auto first = std::make_unique<int>(1), second = std::make_unique<int>(2);
  EXPECT_TRUE(queue.TryPush(first));
  EXPECT_EQ(first, nullptr);
  EXPECT_FALSE(queue.TryPush(second));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
  EXPECT_EQ(queue.size(), 1U);
}

TEST(BoundedQueue, PopGivesUpWhenTheTimeHasPassed) {
  BoundedQueue<int> queue(1);
  EXPECT_FALSE(queue.Pop(milliseconds(0)).has_value());
  EXPECT_FALSE(queue.Pop(milliseconds(2)).has_value());
  EXPECT_FALSE(queue.closed());
}

TEST(BoundedQueue, PopWaitsForAPush) {
  BoundedQueue<int> queue(1);
  std::thread pusher([&queue] {
    int item = 7;
    queue.TryPush(item);
  });
  EXPECT_EQ(queue.Pop(kLong), 7);
  pusher.join();
}

TEST(BoundedQueue, GivesWhatIsInsideAfterCloseAndTakesNothing) {
  BoundedQueue<int> queue(2);
  int item = 1;
  ASSERT_TRUE(queue.TryPush(item));
  queue.Close();
  EXPECT_TRUE(queue.closed());
  EXPECT_FALSE(queue.TryPush(item));
  EXPECT_EQ(queue.Pop(kLong), 1);
  EXPECT_FALSE(queue.Pop(kLong).has_value());
}

TEST(BoundedQueue, CloseWakesEveryPop) {
  BoundedQueue<int> queue(1);
  std::vector<std::thread> poppers;
  poppers.reserve(3);
  for (int i = 0; i < 3; ++i) {
    poppers.emplace_back([&queue] { EXPECT_FALSE(queue.Pop(kLong).has_value()); });
  }
  queue.Close();
  for (std::thread& popper : poppers) popper.join();
}

TEST(BoundedQueue, LosesAndDoublesNothingBetweenManyThreads) {
  BoundedQueue<int> queue(5);
  constexpr int kThreads = 4, kItems = 2000;
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> pushers, poppers;
  for (int t = 0; t < kThreads; ++t) {
    poppers.emplace_back([&] {
      while (const auto item = queue.Pop(kLong)) sum += *item;
    });
    pushers.emplace_back([&] {
      for (int i = 1; i <= kItems; ++i) {
        int item = i;
        while (!queue.TryPush(item)) std::this_thread::yield();
      }
    });
  }
  for (std::thread& pusher : pushers) pusher.join();
  queue.Close();
  for (std::thread& popper : poppers) popper.join();
  EXPECT_EQ(sum, int64_t{kThreads} * kItems * (kItems + 1) / 2);
}

}  // namespace
}  // namespace lfm2
