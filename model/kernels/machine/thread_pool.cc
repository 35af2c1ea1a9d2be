#include "model/kernels/machine/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace lfm2 {
namespace {

constexpr uint32_t kInsideMask = 0x3FFF;
constexpr uint32_t kEnd = 0x4000;
constexpr uint32_t kOpen = 0x8000;
constexpr uint32_t kOneRegion = 0x10000;

constexpr int kMaxThreads = 1024;  // well within kInsideMask
constexpr std::chrono::microseconds kSpin{100};
constexpr int kPausesPerLook = 32;  // reading the clock costs more than a pause

thread_local bool inside_region = false;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

uint32_t NumberOf(uint32_t gate) { return gate / kOneRegion; }

// Spins while `waiting(value)`, then sleeps in the kernel until the value changes; returns the
// first value that ends the wait.
template <typename Waiting>
uint32_t Await(const std::atomic<uint32_t>& word, Waiting waiting) {
  const auto give_up = std::chrono::steady_clock::now() + kSpin;
  uint32_t value = word.load(std::memory_order_acquire);
  for (int pauses = 0; waiting(value); value = word.load(std::memory_order_acquire)) {
    if (++pauses % kPausesPerLook == 0 && std::chrono::steady_clock::now() > give_up) {
      word.wait(value, std::memory_order_acquire);
    } else {
      Pause();
    }
  }
  return value;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  const int wanted = std::clamp(threads, 1, kMaxThreads) - 1;
  workers_.reserve(wanted);
  try {
    while (static_cast<int>(workers_.size()) < wanted) workers_.emplace_back([this] { Work(); });
  } catch (const std::system_error&) {
    // Fewer threads give the same results.
  }
}

ThreadPool::~ThreadPool() {
  gate_.fetch_or(kEnd, std::memory_order_release);
  gate_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(int64_t n, int64_t grain,
                             absl::FunctionRef<void(int64_t, int64_t)> body) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (workers_.empty() || n <= grain || inside_region) {
    body(0, n);
    return;
  }
  std::lock_guard<std::mutex> turn(turn_);
  region_ = {&body, n, grain};
  next_.store(0, std::memory_order_relaxed);
  // No worker is inside and the gate is shut, so only this thread can change the gate here.
  gate_.fetch_add(kOneRegion + kOpen, std::memory_order_release);
  gate_.notify_all();
  RunRanges(region_);
  gate_.fetch_sub(kOpen, std::memory_order_relaxed);
  Await(gate_, [](uint32_t gate) { return (gate & kInsideMask) != 0; });
}

void ThreadPool::Work() {
  uint32_t done = 0;  // number of the last region in which this worker ran
  while (true) {
    uint32_t gate = Await(gate_, [done](uint32_t now) {
      return (now & kEnd) == 0 && ((now & kOpen) == 0 || NumberOf(now) == done);
    });
    if ((gate & kEnd) != 0) return;
    if (!gate_.compare_exchange_strong(gate, gate + 1, std::memory_order_acq_rel)) continue;
    done = NumberOf(gate);
    RunRanges(region_);
    const uint32_t before = gate_.fetch_sub(1, std::memory_order_acq_rel);
    if ((before & kInsideMask) == 1) gate_.notify_all();
  }
}

void ThreadPool::RunRanges(const Region& region) {
  inside_region = true;
  const int64_t shares = 2 * static_cast<int64_t>(threads());
  int64_t begin = next_.load(std::memory_order_relaxed);
  while (begin < region.n) {
    const int64_t left = region.n - begin;
    const int64_t take = std::min(left, std::max(region.grain, left / shares));
    if (!next_.compare_exchange_weak(begin, begin + take, std::memory_order_relaxed)) continue;
    (*region.body)(begin, begin + take);
    begin = next_.load(std::memory_order_relaxed);
  }
  inside_region = false;
}

}  // namespace lfm2
