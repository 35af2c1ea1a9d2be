#include "model/kernels/machine/thread_pool.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

namespace lfm2 {
namespace {

TEST(ThreadPool, CoversEveryIndexOnce) {
  std::mt19937 random(3);
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 300; ++round) {
      const int64_t n = static_cast<int64_t>(random() % 1000);
      const int64_t grain = static_cast<int64_t>(random() % 40);
      // Not atomic: a range that two threads get is a race that ThreadSanitizer sees.
      std::vector<int> visits(static_cast<size_t>(n), 0);
      pool.ParallelFor(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[i];
      });
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(visits[i], 1) << i << " of " << n;
    }
  }
}

TEST(ThreadPool, NoRangeButTheLastIsShorterThanTheGrain) {
  ThreadPool pool(4);
  std::mutex mutex;
  std::vector<std::pair<int64_t, int64_t>> ranges;
  pool.ParallelFor(1003, 10, [&](int64_t begin, int64_t end) {
    std::lock_guard<std::mutex> lock(mutex);
    ranges.emplace_back(begin, end);
  });
  for (const auto& [begin, end] : ranges) EXPECT_TRUE(end - begin >= 10 || end == 1003);
}

TEST(ThreadPool, WorkersTakePart) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  // Each range waits until three threads are inside: no thread may be missing.
  std::atomic<int> inside{0};
  pool.ParallelFor(3, 1, [&](int64_t, int64_t) {
    ++inside;
    while (inside < 3) std::this_thread::yield();
    std::lock_guard<std::mutex> lock(mutex);
    seen.insert(std::this_thread::get_id());
  });
  EXPECT_EQ(seen.size(), 3U);
}

TEST(ThreadPool, NothingIsNoCallAndAFewIsOne) {
  ThreadPool pool(2);
  int calls = 0;
  pool.ParallelFor(0, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
  pool.ParallelFor(5, 5, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 5);
  });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, LessThanOneThreadIsOne) {
  ThreadPool pool(-4);
  EXPECT_EQ(pool.threads(), 1);
}

TEST(ThreadPool, ARegionInsideARegionRunsInItsThread) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum{0};
  pool.ParallelFor(8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      pool.ParallelFor(10, 1, [&](int64_t from, int64_t to) { sum += to - from; });
    }
  });
  EXPECT_EQ(sum, 80);
}

TEST(ThreadPool, CallersTakeTurns) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<int64_t> total{0};
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        pool.ParallelFor(50, 1, [&](int64_t begin, int64_t end) { total += end - begin; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 200 * 50);
}

TEST(ThreadPool, WakesWorkersThatWentToSleep) {
  ThreadPool pool(2);
  for (int round = 0; round < 5; ++round) {
    // Longer than workers spin. What follows is right whether they sleep or not.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    std::atomic<int> inside{0};
    pool.ParallelFor(2, 1, [&](int64_t, int64_t) {
      ++inside;
      while (inside < 2) std::this_thread::yield();
    });
    EXPECT_EQ(inside, 2);
  }
}

TEST(ThreadPool, IdleWorkersUseNoProcessor) {
  ThreadPool pool(4);
  pool.ParallelFor(100, 1, [](int64_t, int64_t) {});
  const auto used = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(used() - before, 0.05) << "seconds of processor time in 0.2 s of idleness";
}

TEST(ThreadPool, MayBeDestroyedRightAfterARegion) {
  for (int round = 0; round < 200; ++round) {
    ThreadPool pool(3);
    if (round % 2 == 0) pool.ParallelFor(3, 1, [](int64_t, int64_t) {});
  }
}

TEST(ThreadPool, ManyShortRegions) {
  ThreadPool pool(2);
  int64_t sums[2] = {};
  // More than the 65,536 numbers that the gate has for regions.
  for (int64_t round = 0; round < 70'000; ++round) {
    pool.ParallelFor(2, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sums[i] += round;
    });
  }
  EXPECT_EQ(sums[0], sums[1]);
  EXPECT_EQ(sums[0], int64_t{70'000} * 69'999 / 2);
}

}  // namespace
}  // namespace lfm2
