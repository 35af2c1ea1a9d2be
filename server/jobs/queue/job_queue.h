// The durable job queue: accepted means stored. Jobs and their numbered events live in SQLite (this
// process only, one connection, EXCLUSIVE). A supervisor thread runs each job in its own
// lfm2-worker process, monitors its heartbeat, and, if the process dies, queues the job again from
// its last checkpoint.
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
  // Opens and recovers: queues RUNNING jobs again (their workers died with the daemon) and removes
  // temporary files of interrupted jobs. Upgrades a store of an older program once.
  // kJobStoreCorrupt if the database cannot be read: it is never replaced by a new one.
  static absl::StatusOr<std::unique_ptr<JobQueue>> Open(JobQueueOptions options,
                                                        const Limits& limits, ModelStore& models,
                                                        DatasetStore& datasets, Clock& clock);
  virtual ~JobQueue() = default;  // Shutdown()

  // The job is durable when this returns. The same (principal, request_id) with the same spec
  // returns the same job; with another spec kRequestIdReused. An empty request_id is not compared.
  // kQueueFull, kDiskFull, kStorageIoError, kDraining.
  virtual absl::StatusOr<Job> Submit(const std::string& principal, const std::string& request_id,
                                     const JobSpec& spec) = 0;
  virtual absl::StatusOr<Job> Get(const std::string& id) = 0;  // kJobNotFound
  virtual absl::StatusOr<JobPage> List(std::optional<JobState> state, int page_size,
                                       const std::string& page_token) = 0;
  // kWrongState if the job has ended. A queued job is CANCELLED at once, a running one at its next
  // step, with a checkpoint.
  virtual absl::StatusOr<Job> Cancel(const std::string& id) = 0;

  // At most `max` events, starting with number from_seq; fewer if there are not that many yet.
  virtual absl::StatusOr<std::vector<JobEvent>> ReadEvents(const std::string& id, int64_t from_seq,
                                                           int max) = 0;
  // Calls `on_change` after each new event of the job, until the handle is destroyed; then call
  // ReadEvents again. See JobSubscription for the handle's rules.
  using Subscription = JobSubscription;
  virtual std::unique_ptr<Subscription> Subscribe(const std::string& id,
                                                  std::function<void()> on_change) = 0;

  // The files of a finished export. They are kept until each ExportDirectory has had its
  // ReleaseExport, or until the next start of the daemon. kWrongState if the job is not a finished
  // export, kFileNotFound if its files have been removed.
  virtual absl::StatusOr<std::filesystem::path> ExportDirectory(const std::string& id) = 0;
  virtual void ReleaseExport(const std::string& id) = 0;

  // Why the last worker could not be started, while jobs wait because of this; starting is tried
  // again.
  virtual absl::Status worker_status() = 0;

  // Refuses new jobs, asks workers to stop at a checkpoint, waits, then kills the remaining ones,
  // whose jobs are queued for the next start. A second call with a shorter timeout shortens the
  // first call's wait.
  virtual void Shutdown(std::chrono::milliseconds timeout) = 0;
};

}  // namespace lfm2
