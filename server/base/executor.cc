#include "server/base/executor.h"

#include <unistd.h>

#include "model/core/errors.h"

namespace lfm2 {

Executor::Executor(int threads, size_t queue_capacity, int niceness) : queue_(queue_capacity) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, niceness] {
      // Linux counts niceness by thread, and to have more of it is allowed to everybody.
      [[maybe_unused]] const int own = niceness > 0 ? nice(niceness) : 0;
      while (true) {
        if (auto work = queue_.Pop(std::chrono::seconds(1))) {
          (*work)();
        } else if (queue_.closed()) {
          return;
        }
      }
    });
  }
}

Executor::~Executor() {
  queue_.Close();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status Executor::Run(std::function<void()> work) {
  if (queue_.TryPush(work)) return absl::OkStatus();
  return RetryLater(Reason::kQueueFull, "the work queue is full", 500);
}

}  // namespace lfm2
