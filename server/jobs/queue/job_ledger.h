// The state of every job, and the rules for its changes. Everything that a call returns or a
// watcher reads has been written to the job store before: a step's event then survives kill -9 of
// the daemon, and after at most one second also a power cut; a change of state, a checkpoint, a
// submission and a cancellation survive both at once.
//
// Thread rule: any thread. Listeners are called without a lock held.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/mutex.h"
#include "server/jobs/queue/job_listeners.h"
#include "server/jobs/queue/job_page.h"
#include "server/jobs/queue/job_queue_options.h"
#include "server/jobs/queue/job_store.h"
#include "server/jobs/queue/job_subscription.h"
#include "server/jobs/queue/retry_policy.h"
#include "server/jobs/queue/uuid.h"

namespace lfm2 {

struct LedgerOptions {
  std::filesystem::path data_dir;
  Limits limits;
  RetryPolicy retry;
};

// A job that the supervisor has taken to run.
struct JobClaim {
  std::string id;
  JobSpec spec;
  int64_t fencing_token = 0;
};

// How a job ended.
struct JobOutcome {
  JobState state = JobState::kFailed;
  absl::Status status;
  std::string result_version;
  std::vector<ExportedFile> files;
};

enum class RequeueCause {
  kCrash,   // counts towards quarantine; waits longer each time
  kStopped  // it was asked to stop: not counted as a crash
};

class JobLedger {
 public:
  // Opens and recovers; see JobQueue::Open.
  static absl::StatusOr<std::unique_ptr<JobLedger>> Open(LedgerOptions options, Clock& clock);

  // For callers; see JobQueue.
  absl::StatusOr<Job> Submit(const std::string& principal, const std::string& request_id,
                             const JobSpec& spec) LFM2_EXCLUDES(mutex_);
  absl::StatusOr<Job> Get(const std::string& id) LFM2_EXCLUDES(mutex_);
  absl::StatusOr<JobPage> List(std::optional<JobState> state, int page_size,
                               const std::string& page_token) LFM2_EXCLUDES(mutex_);
  absl::StatusOr<Job> Cancel(const std::string& id) LFM2_EXCLUDES(mutex_);
  absl::StatusOr<std::vector<JobEvent>> ReadEvents(const std::string& id, int64_t from_seq, int max)
      LFM2_EXCLUDES(mutex_);
  JobListeners& listeners() { return listeners_; }
  void Drain() LFM2_EXCLUDES(mutex_);  // Submit refuses from here on

  // For the supervisor. Returns the oldest queued job of these kinds that is due, after setting it
  // to RUNNING.
  absl::StatusOr<std::optional<JobClaim>> ClaimNext(const std::vector<JobKind>& kinds)
      LFM2_EXCLUDES(mutex_);
  // Records an event of a running job. After an error it is not stored.
  absl::Status Record(const std::string& id, const JobEventBody& body) LFM2_EXCLUDES(mutex_);
  bool CancelRequested(const std::string& id) LFM2_EXCLUDES(mutex_);
  // Ends a running job. After an error nothing has changed: try again.
  absl::Status End(const std::string& id, const JobOutcome& outcome) LFM2_EXCLUDES(mutex_);
  absl::Status Requeue(const std::string& id, const absl::Status& why, RequeueCause cause)
      LFM2_EXCLUDES(mutex_);
  // Queues the job again if no process could be started; does not count as an attempt or a crash.
  absl::Status PutBack(const std::string& id, const absl::Status& why,
                       std::chrono::milliseconds delay) LFM2_EXCLUDES(mutex_);
  // Syncs events to disk that have been only in the kernel for a second.
  void SyncDue() LFM2_EXCLUDES(mutex_);
  // The next time when a waiting job may run or SyncDue has work; nullopt if there is no such time.
  std::optional<SteadyTime> NextDue() LFM2_EXCLUDES(mutex_);

  std::filesystem::path JobDirectory(const std::string& id) const { return jobs_dir_ / id; }

 private:
  JobLedger(LedgerOptions options, std::unique_ptr<JobStore> store, const std::string& newest_id,
            Clock& clock);

  absl::StatusOr<JobRecord> Current(const std::string& id) LFM2_REQUIRES(mutex_);
  absl::Status Create(const JobRecord& record) LFM2_REQUIRES(mutex_);
  absl::StatusOr<Job> SubmitLocked(const std::string& principal, const std::string& request_id,
                                   const JobSpec& spec) LFM2_REQUIRES(mutex_);
  absl::StatusOr<Job> CancelLocked(const std::string& id) LFM2_REQUIRES(mutex_);
  absl::StatusOr<std::optional<JobClaim>> ClaimLocked(const std::vector<JobKind>& kinds)
      LFM2_REQUIRES(mutex_);
  absl::StatusOr<JobClaim> ClaimOne(const std::string& id) LFM2_REQUIRES(mutex_);
  absl::Status RecordLocked(const std::string& id, const JobEventBody& body) LFM2_REQUIRES(mutex_);
  absl::Status RequeueLocked(const std::string& id, const absl::Status& why, RequeueCause cause)
      LFM2_REQUIRES(mutex_);
  // Stores the job's next event and updates `record` after that.
  absl::Status Append(JobRecord& record, const JobEventBody& body, Kept kept) LFM2_REQUIRES(mutex_);
  absl::Status Change(JobRecord next, const StateChange& change) LFM2_REQUIRES(mutex_);

  // Recovery: job_ledger_recovery.cc.
  absl::Status Recover() LFM2_EXCLUDES(mutex_);
  absl::Status RecoverJob(const std::string& id) LFM2_REQUIRES(mutex_);
  void CleanFolders() LFM2_REQUIRES(mutex_);

  const LedgerOptions options_;
  const std::filesystem::path jobs_dir_;
  Clock& clock_;
  JobListeners listeners_;

  Mutex mutex_;
  const std::unique_ptr<JobStore> store_ LFM2_GUARDED_BY(mutex_);
  UuidSequence ids_ LFM2_GUARDED_BY(mutex_);
  std::map<std::string, JobRecord> running_ LFM2_GUARDED_BY(mutex_);  // the same as their rows
  std::optional<SteadyTime> unsynced_since_ LFM2_GUARDED_BY(mutex_);
  std::map<std::string, SteadyTime> not_before_ LFM2_GUARDED_BY(mutex_);  // jobs to retry later
  bool draining_ LFM2_GUARDED_BY(mutex_) = false;
};

}  // namespace lfm2
