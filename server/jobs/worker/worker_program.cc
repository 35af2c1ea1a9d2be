#include "server/jobs/worker/worker_program.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "base/errors.h"

namespace lfm2 {
namespace {

std::atomic<bool> stop_signal{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set in a signal handler");

void CatchSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_signal = true; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

bool IsSocket(int fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

WorkerResult Failed(absl::Status status) {
  WorkerResult result;
  result.status = std::move(status);
  return result;
}

WorkerResult RunBody(const JobBody& body, WorkerLink& link) {
  try {
    return body(link.order(), link);
  } catch (const std::bad_alloc&) {
    return Failed(Error(Reason::kOutOfMemory, "the job needs more memory than there is"));
  } catch (const std::exception& error) {
    return Failed(Error(Reason::kInternal, std::string("the job failed: ") + error.what()));
  }
}

}  // namespace

int RunWorker(const JobBody& body) {
  if (!IsSocket(kWorkerSocket)) {
    std::fprintf(stderr,
                 "lfm2-worker is started by lfm2d for each job; it does nothing by hand.\n");
    return kWorkerByHand;
  }
  CatchSignals();
  WorkerLinkOptions options;
  options.stop_signal = &stop_signal;
  // Skips destructors, because other threads are still running and their work must not be kept.
  options.on_lost = [] { _exit(kWorkerLostDaemon); };
  absl::StatusOr<std::unique_ptr<WorkerLink>> link =
      WorkerLink::Connect(kWorkerSocket, std::move(options));
  if (!link.ok()) {
    std::fprintf(stderr, "%s\n", link.status().ToString().c_str());
    return kWorkerBadOrder;
  }
  (*link)->Finish(RunBody(body, **link));
  return kWorkerDone;
}

}  // namespace lfm2
