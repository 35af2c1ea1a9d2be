// A fork-join pool for regions of a few microseconds to milliseconds: the matrix kernels'.
//
// Thread rule: ParallelFor may be called from any thread; calls from several threads take turns. A
// call from inside a region runs in its caller alone. Workers that have nothing to do spin for a
// short while (a decoding step opens a region every few microseconds), then sleep in the kernel.
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
  // `threads` counts the caller of ParallelFor: 1 (or less) starts no thread. When the system
  // refuses more threads the pool has those it got, see threads().
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return 1 + static_cast<int>(workers_.size()); }

  // Calls `body(begin, end)` for ranges that cover [0, n) once each, none shorter than `grain` but
  // the last, and returns when all are done. Ranges shrink towards the end, so that an uneven or
  // interrupted thread delays the others little; which thread gets which range is not determined.
  // The caller takes part, so all is done even when no worker wakes up in time. `body` must not
  // throw.
  void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> body);

 private:
  // What a region is; written by its opener before `gate_` opens, read by those who joined.
  struct Region {
    const absl::FunctionRef<void(int64_t, int64_t)>* body = nullptr;
    int64_t n = 0;
    int64_t grain = 1;
  };

  void Work();
  void RunRanges(const Region& region);

  // The region's number in the high half, then whether it is open for joining, whether the pool
  // ends, and how many workers are inside. The number tells a worker a region it has left from the
  // next one.
  alignas(64) std::atomic<uint32_t> gate_{0};
  alignas(64) std::atomic<int64_t> next_{0};  // first index that nobody has taken
  alignas(64) Region region_;
  std::mutex turn_;  // held by the opener of a region
  std::vector<std::thread> workers_;
};

}  // namespace lfm2
