#include "base/executor.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(Executor, RunsWhatIsQueuedBeforeItGoes) {
  std::atomic<int> ran{0};
  {
    Executor executor(2, 100);
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(executor.Run([&ran] { ++ran; }).ok());
  }
  EXPECT_EQ(ran, 50);
}

TEST(Executor, RunsOnAnotherThread) {
  std::promise<std::thread::id> id;
  Executor executor(1, 1);
  ASSERT_TRUE(executor.Run([&id] { id.set_value(std::this_thread::get_id()); }).ok());
  EXPECT_NE(id.get_future().get(), std::this_thread::get_id());
}

TEST(Executor, RunsAsManyAtOnceAsItHasThreads) {
  std::promise<void> first, second;
  Executor executor(2, 2);
  // Each waits for the other: one thread alone would never end.
  ASSERT_TRUE(executor
                  .Run([&] {
                    first.set_value();
                    second.get_future().wait();
                  })
                  .ok());
  ASSERT_TRUE(executor
                  .Run([&] {
                    first.get_future().wait();
                    second.set_value();
                  })
                  .ok());
}

TEST(Executor, RefusesWhenTheQueueIsFull) {
  std::promise<void> started, go;
  Executor executor(1, 2);
  ASSERT_TRUE(executor
                  .Run([&] {
                    started.set_value();
                    go.get_future().wait();
                  })
                  .ok());
  started.get_future().wait();
  EXPECT_TRUE(executor.Run([] {}).ok());
  EXPECT_TRUE(executor.Run([] {}).ok());
  const absl::Status status = executor.Run([] {});
  EXPECT_EQ(DetailsOf(status).reason, Reason::kQueueFull);
  EXPECT_TRUE(DetailsOf(status).retry_after_ms.has_value());
  go.set_value();
}

TEST(Executor, HasThreadsAsNiceAsWanted) {
  const auto niceness_of = [](int niceness) {
    std::promise<int> seen;
    {
      Executor executor(1, 4, niceness);
      EXPECT_TRUE(executor
                      .Run([&] {
                        std::thread started([&] {
                          seen.set_value(getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())));
                        });
                        started.join();
                      })
                      .ok());
    }
    return seen.get_future().get();
  };
  const int own = getpriority(PRIO_PROCESS, 0);
  EXPECT_EQ(niceness_of(0), own);
  EXPECT_EQ(niceness_of(std::min(own + 7, 19)), std::min(own + 7, 19));
}

}  // namespace
}  // namespace lfm2
