#include "base/executor.h"

#include <string>

#include "base/errors.h"
#include "base/niceness.h"

namespace lfm2 {
namespace {

constexpr int64_t kRetryMs = 500;

}  // namespace

Executor::Executor(int threads, size_t queue_capacity, int niceness)
    : queue_capacity_(queue_capacity), queue_(queue_capacity) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, niceness] {
      BeNicer(niceness);
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
  return RetryLater(Reason::kQueueFull,
                    std::to_string(queue_capacity_) +
                        " tasks wait for a thread, which is the limit; try again later",
                    kRetryMs);
}

}  // namespace lfm2
