// A few threads for work that is too slow for a gRPC reaction and needs no device: loading,
// tokenizing, hashing, files. Thread rule: any thread. Bounded: Run refuses with kQueueFull.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/bounded_queue.h"

namespace lfm2 {

class Executor {
 public:
  // niceness: of its threads and of those that they start, beside the process's own, as nice(1).
  Executor(int threads, size_t queue_capacity, int niceness = 0);
  ~Executor();  // runs what is queued, then joins
  absl::Status Run(std::function<void()> work);
  size_t waiting() const { return queue_.size(); }  // for a thread

 private:
  const size_t queue_capacity_;
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace lfm2
