// A small thread pool for work that is too slow for a gRPC reaction and needs no device: loading,
// tokenizing, hashing, files. Thread rule: any thread. Run returns kQueueFull when the queue is
// full.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/bounded_queue.h"

namespace lfm2 {

class Executor {
 public:
  // niceness: added to the process's own, as with nice(1), for its threads and those they start.
  Executor(int threads, size_t queue_capacity, int niceness = 0);
  ~Executor();  // runs all queued work, then joins
  absl::Status Run(std::function<void()> work);
  size_t waiting() const { return queue_.size(); }  // not yet started

 private:
  const size_t queue_capacity_;
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::thread> threads_;
};

}  // namespace lfm2
