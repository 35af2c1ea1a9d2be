// Runs queued jobs, each in its own worker process: starts them while there are slots, answers
// their heartbeats, writes down what they tell, stops and kills them, and decides what a job's end
// or death means.
//
// Thread rule: Start, Wake, Stop and worker_status from any thread; everything else happens on the
// supervisor's one thread, which also starts the processes (they die with it, see
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
  // Makes the model in job_dir/result a version of its name, once however often it is called; the
  // version.
  std::function<absl::StatusOr<std::string>(const JobClaim&, const WorkerResult&)> publish;
  std::function<std::map<std::string, std::string>(const JobSpec&)> dataset_paths;
};

class Supervisor {
 public:
  static absl::StatusOr<std::unique_ptr<Supervisor>> Start(const JobQueueOptions& options,
                                                           JobLedger& ledger, SupervisorHooks hooks,
                                                           Clock& clock);
  ~Supervisor();  // Stop(0)
  void Wake();    // there may be something new: a job, a cancellation
  // Asks all workers to stop, waits, kills the rest; their jobs are queued for the next start. A
  // second call, from whatever thread, may shorten the wait.
  void Stop(std::chrono::milliseconds timeout) LFM2_EXCLUDES(mutex_, join_mutex_);
  absl::Status worker_status() LFM2_EXCLUDES(mutex_);  // see JobQueue; any thread

 private:
  // A claimed job and its process.
  struct Running {
    JobClaim claim;
    std::unique_ptr<WorkerProcess> process;   // null when it could not be started
    SteadyTime last_sign;                     // of life
    bool heard = false;                       // a first sign has come
    std::optional<SteadyTime> stop_deadline;  // set: it was asked to stop
    std::optional<WorkerResult> result;
    absl::Status fault;  // why we killed it, or why it could not be started
    bool not_started = false;
    std::optional<WorkerExit> exit;
    std::optional<JobOutcome> outcome;  // decided, perhaps not written yet
    SteadyTime next_try;                // of writing it
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
  // True when the job's end is written and the entry can go.
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
