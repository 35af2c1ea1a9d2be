#include "server/jobs/worker/body_progress.h"

#include <unistd.h>

#include <chrono>

#include "server/jobs/worker/worker_program.h"

namespace lfm2 {
namespace {

constexpr std::chrono::milliseconds kInterval{200};

}  // namespace

std::function<void(int64_t, int64_t)> TensorProgress(WorkerLink& link) {
  using std::chrono::steady_clock;
  return [&link, told = steady_clock::time_point()](int64_t done, int64_t total) mutable {
    if (link.StopRequested()) {
      WorkerResult stopped;
      stopped.stopped = true;
      link.Finish(stopped);
      _exit(kWorkerDone);
    }
    const auto now = steady_clock::now();
    if (done < total && now - told < kInterval) return;
    told = now;
    link.Report(Progress{done, total, "tensors"});
  };
}

}  // namespace lfm2
