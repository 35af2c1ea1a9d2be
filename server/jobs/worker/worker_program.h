// The common part of worker programs around a job: descriptor 3, the order, signals, exceptions,
// the result.
#pragma once

#include <functional>

#include "server/jobs/wire/worker_message.h"
#include "server/jobs/wire/worker_socket.h"
#include "server/jobs/worker/worker_link.h"

namespace lfm2 {

// Exit statuses of a worker.
inline constexpr int kWorkerDone = 0;        // a result was sent: success or failure
inline constexpr int kWorkerByHand = 2;      // not started by the daemon
inline constexpr int kWorkerLostDaemon = 3;  // the daemon is gone
inline constexpr int kWorkerBadOrder = 4;

using JobBody = std::function<WorkerResult(const Order&, WorkerLink&)>;

// Runs one job to its end. SIGTERM is a stop request. An exception from the body becomes a failed
// result: kOutOfMemory for std::bad_alloc, kInternal for any other. Returns the exit status.
int RunWorker(const JobBody& body);

}  // namespace lfm2
