// The durable job queue: accepted means stored. Jobs and their numbered events live in SQLite (this
// process only, one connection, EXCLUSIVE). A supervisor thread runs each job in its own
// lfm2-worker process, watches its heartbeat, and queues it again from its last checkpoint when it
// dies.
//
// Thread rule: any thread. Listeners are called without a lock held, from the supervisor's thread
// or the caller's.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/limits.h"
#include "server/jobs/queue/job_page.h"
#include "server/jobs/queue/job_queue_options.h"
#include "server/jobs/queue/job_subscription.h"
#include "server/jobs/wire/job.h"
#include "server/store/dataset_store.h"
#include "server/store/model_store.h"

namespace lfm2 {

class JobQueue {
 public:
  // Recovers: RUNNING jobs are queued again (their workers died with the daemon), and what an
  // interrupted job left aside is removed. A store of an older program is made into today's once.
  // kJobStoreCorrupt when the database cannot be read: it is never made anew.
  static absl::StatusOr<std::unique_ptr<JobQueue>> Open(JobQueueOptions options,
                                                        const Limits& limits, ModelStore& models,
                                                        DatasetStore& datasets, Clock& clock);
  virtual ~JobQueue() = default;  // Shutdown()

  // Durable when it returns. The same (principal, request_id) with the same spec returns the same
  // job; with another spec kRequestIdReused. An empty request_id is none. kQueueFull, kDiskFull,
  // kStorageIoError, kDraining.
  virtual absl::StatusOr<Job> Submit(const std::string& principal, const std::string& request_id,
                                     const JobSpec& spec) = 0;
  virtual absl::StatusOr<Job> Get(const std::string& id) = 0;  // kJobNotFound
  virtual absl::StatusOr<JobPage> List(std::optional<JobState> state, int page_size,
                                       const std::string& page_token) = 0;
  // kWrongState when the job has ended. Queued: CANCELLED at once. Running: at its next step, with
  // a checkpoint.
  virtual absl::StatusOr<Job> Cancel(const std::string& id) = 0;

  // Up to `max` events from a number on; fewer, or none, when there are not so many yet.
  virtual absl::StatusOr<std::vector<JobEvent>> ReadEvents(const std::string& id, int64_t from_seq,
                                                           int max) = 0;
  // Calls `on_change` after each new event of the job, until the handle is destroyed. Read again
  // then. JobSubscription has the handle's rules.
  using Subscription = JobSubscription;
  virtual std::unique_ptr<Subscription> Subscribe(const std::string& id,
                                                  std::function<void()> on_change) = 0;

  // The files of a finished export. They stay until each ExportDirectory has had its ReleaseExport,
  // or until the next start of the daemon. kWrongState when it is no finished export, kFileNotFound
  // when its files are gone.
  virtual absl::StatusOr<std::filesystem::path> ExportDirectory(const std::string& id) = 0;
  virtual void ReleaseExport(const std::string& id) = 0;

  // Why the last worker could not be started, while jobs wait for that; they are tried again.
  virtual absl::Status worker_status() = 0;

  // Refuses new jobs, asks workers to stop at a checkpoint, waits, kills the rest; their jobs are
  // queued for the next start. A second call with less time shortens the wait of the first.
  virtual void Shutdown(std::chrono::milliseconds timeout) = 0;
};

}  // namespace lfm2
