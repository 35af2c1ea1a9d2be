// Runs queued jobs, each in its own worker process: starts them while there are free slots, answers
// their heartbeats, records their events, stops and kills them, and decides the outcome of a job
// whose process ended or died.
//
// Thread rule: Start, Wake, Stop and worker_status from any thread; everything else runs on the
// supervisor's only thread, which also starts the processes (they die with it, see
// worker_process.h). Ownership: borrows the ledger and the clock.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "server/jobs/queue/job_ledger.h"
#include "server/jobs/queue/job_queue_options.h"
#include "server/jobs/queue/worker_process.h"
#include "server/jobs/wire/worker_message.h"

namespace lfm2 {

// What the supervisor needs of the stores.
struct SupervisorHooks {
  // Publishes the model in job_dir/result as a version of its name and returns the version.
  // Repeated calls publish it only once.
  std::function<absl::StatusOr<std::string>(const JobClaim&, const WorkerResult&)> publish;
  std::function<std::map<std::string, std::string>(const JobSpec&)> dataset_paths;
};

class Supervisor {
 public:
  static absl::StatusOr<std::unique_ptr<Supervisor>> Start(const JobQueueOptions& options,
                                                           JobLedger& ledger, SupervisorHooks hooks,
                                                           Clock& clock);
  ~Supervisor();  // Stop(0)
  void Wake();    // call it after a new job or a cancellation
  // Asks all workers to stop, waits, then kills the remaining ones; their jobs are queued for the
  // next start. A second call, from any thread, may shorten the wait.
  void Stop(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_, join_mutex_);
  absl::Status worker_status() LFM2_EXCLUDES(mutex_);  // see JobQueue; any thread

 private:
  // A claimed job and its process.
  struct Running {
    JobClaim claim;
    std::unique_ptr<WorkerProcess> process;   // null if it could not be started
    SteadyTime last_sign;                     // last message from the worker
    bool heard = false;                       // it has sent a first message
    std::optional<SteadyTime> stop_deadline;  // set if it was asked to stop
    std::optional<WorkerResult> result;
    absl::Status fault;  // why we killed it, or why it could not be started
    bool not_started = false;
    std::optional<WorkerExit> exit;
    std::optional<JobOutcome> outcome;  // decided, but perhaps not written yet
    SteadyTime next_try;                // to write it
  };

  Supervisor(const JobQueueOptions& options, JobLedger& ledger, SupervisorHooks hooks, Clock& clock,
             int wake);

  void Run();
  bool Stopping() LFM2_EXCLUDES(mutex_);
  bool PastStop() LFM2_EXCLUDES(mutex_);
  void WaitForNews();
  int TimeoutMs();
  void ClaimWhileSlots();
  bool ClaimOne(bool training_slot, bool short_slot);
  void Launch(JobClaim claim);
  void SetWorkerStatus(absl::Status status) LFM2_EXCLUDES(mutex_);
  void Attend(Running& running);
  void Hear(Running& running);
  void Handle(Running& running, const FromWorker& message);
  void AskToStop(Running& running);
  void CheckDeadlines(Running& running);
  void Fault(Running& running, absl::Status status);
  // True if the job's end has been written and the entry can be removed.
  bool Settle(Running& running);
  absl::Status WriteEnd(Running& running);
  absl::Status PutBack(const Running& running);
  absl::Status RequeueWhy(const Running& running) const;
  JobOutcome Succeeded(const Running& running);
  void KillAll();

  const JobQueueOptions options_;
  JobLedger& ledger_;
  const SupervisorHooks hooks_;
  Clock& clock_;
  const int wake_;  // eventfd

  std::list<Running> running_;             // the supervisor's thread only
  std::optional<SteadyTime> claim_after_;  // the same; set when claiming failed
  int64_t failed_starts_ = 0;              // the same; in a row

  Mutex mutex_;
  std::optional<std::chrono::steady_clock::time_point> stop_by_ LFM2_GUARDED_BY(mutex_);
  absl::Status worker_status_ LFM2_GUARDED_BY(mutex_);

  Mutex join_mutex_;
  std::thread thread_;
};

}  // namespace lfm2
