// Waits for the open work of the engine and the jobs at the same time, until one deadline for both.
// Borrows both. Thread rule: Wait once, from one thread; EndNow from any.
#pragma once

#include <atomic>
#include <chrono>

#include "server/engine/engine.h"
#include "server/jobs/queue/job_queue.h"

namespace lfm2 {

class Drainer {
 public:
  Drainer(Engine& engine, JobQueue* jobs) : engine_(engine), jobs_(jobs) {}  // jobs may be null
  // From now on neither accepts new work. After the timeout their work is ended: jobs are queued
  // for the next start, streams get kDraining.
  void Wait(std::chrono::milliseconds timeout);
  void EndNow();  // Wait returns without waiting further
  bool ended_now() const { return end_now_; }

 private:
  Engine& engine_;
  JobQueue* const jobs_;
  std::atomic<bool> end_now_{false};
};

}  // namespace lfm2
