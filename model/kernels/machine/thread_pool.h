// A fork-join thread pool for the matrix kernels, whose parallel regions take microseconds to
// milliseconds.
//
// Thread rule: ParallelFor may be called from any thread; concurrent calls run one after another. A
// nested call runs only on its caller's thread. Idle workers spin for a short time (a decoding step
// opens a region every few microseconds), then sleep in the kernel.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace lfm2 {

class ThreadPool {
 public:
  // `threads` includes the caller of ParallelFor: 1 or less starts no thread. If the system refuses
  // to start a thread, the pool has only those started before; see threads().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return 1 + static_cast<int>(workers_.size()); }

  // Calls `body(begin, end)` for ranges that together cover [0, n) exactly once, and returns when
  // all calls have returned. Only the last range may be shorter than `grain`. Ranges get shorter
  // towards the end, so that a slow thread delays the others little; which thread gets which range
  // is not determined. The caller takes part, so the work is done even if no worker wakes up in
  // time. `body` must not throw.
  void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body);

 private:
  // The current region; written by its opener before `gate_` opens, read by the workers that
  // joined.
  struct Region {
    const absl::FunctionRef<void(int64_t, int64_t)>* body = nullptr;
    int64_t n = 0;
    int64_t grain = 1;
  };

  void Work();
  void RunRanges(const Region& region);

  // The region's number in the high half, then whether it is open for joining, whether the pool
  // ends, and how many workers are inside. The number lets a worker distinguish the region that it
  // has left from the next one.
  alignas(64) std::atomic<uint32_t> gate_{0};
  alignas(64) std::atomic<int64_t> next_{0};  // first index not yet taken by a thread
  alignas(64) Region region_;
  std::mutex turn_;  // held by the opener of a region
  std::vector<std::thread> workers_;
};

}  // namespace lfm2
