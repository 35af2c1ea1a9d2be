#include "server/jobs/queue/supervisor.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "server/jobs/wire/codec.h"
#include "server/jobs/wire/job_folder.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kWriteRetry{1'000};

bool IsRetryable(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Supervisor>> Supervisor::Start(const JobQueueOptions& options,
                                                              JobLedger& ledger,
                                                              SupervisorHooks hooks, Clock& clock) {
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) return Error(Reason::kInternal, "no descriptor for the supervisor of jobs");
  std::unique_ptr<Supervisor> supervisor(
      new Supervisor(options, ledger, std::move(hooks), clock, wake));
  supervisor->thread_ = std::thread([raw = supervisor.get()] { raw->Run(); });
  return supervisor;
}

Supervisor::Supervisor(const JobQueueOptions& options, JobLedger& ledger, SupervisorHooks hooks,
                       Clock& clock, int wake)
    : options_(options), ledger_(ledger), hooks_(std::move(hooks)), clock_(clock), wake_(wake) {}

Supervisor::~Supervisor() {
  Stop(milliseconds(0));
  close(wake_);
}

void Supervisor::Wake() { eventfd_write(wake_, 1); }

void Supervisor::Stop(milliseconds timeout) {
  {
    MutexLock lock(mutex_);
    const auto by = std::chrono::steady_clock::now() + timeout;
    stop_by_ = stop_by_ ? std::min(*stop_by_, by) : by;
  }
  Wake();
  MutexLock lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

absl::Status Supervisor::worker_status() {
  MutexLock lock(mutex_);
  return worker_status_;
}

void Supervisor::SetWorkerStatus(absl::Status status) {
  failed_starts_ = status.ok() ? 0 : failed_starts_ + 1;
  MutexLock lock(mutex_);
  worker_status_ = std::move(status);
}

bool Supervisor::Stopping() {
  MutexLock lock(mutex_);
  return stop_by_.has_value();
}

bool Supervisor::PastStop() {
  MutexLock lock(mutex_);
  return stop_by_ && std::chrono::steady_clock::now() >= *stop_by_;
}

void Supervisor::Run() {
  while (true) {
    const bool stopping = Stopping();
    for (auto it = running_.begin(); it != running_.end();) {
      if (stopping) AskToStop(*it);
      Attend(*it);
      it = Settle(*it) ? running_.erase(it) : std::next(it);
    }
    // Must follow the loop above, which frees slots.
    if (!stopping) ClaimWhileSlots();
    ledger_.SyncDue();
    if (stopping && running_.empty()) return;
    if (PastStop()) return KillAll();
    WaitForNews();
  }
}

void Supervisor::KillAll() {
  for (Running& running : running_) {
    if (running.process == nullptr) continue;
    running.process->Kill();
    running.exit = WorkerExit{0, SIGKILL};
    if (!running.result) running.process = nullptr;
    Settle(running);  // where it cannot be written the next start finds the job running, and queues
                      // it again
  }
  running_.clear();
}

int Supervisor::TimeoutMs() {
  const auto due = ledger_.NextDue();
  if (running_.empty() && !due && !claim_after_ && !Stopping()) return -1;
  // Deadlines depend on the clock, which a test may change, so they are checked several times per
  // heartbeat.
  const int64_t look = std::clamp<int64_t>(options_.heartbeat.count() / 4, 5, 500);
  if (!running_.empty() || claim_after_ || Stopping()) return static_cast<int>(look);
  const int64_t left = std::chrono::duration_cast<milliseconds>(*due - clock_.Now()).count();
  return static_cast<int>(std::clamp<int64_t>(left + 1, 1, look));
}

void Supervisor::WaitForNews() {
  std::vector<pollfd> waits = {{wake_, POLLIN, 0}};
  for (const Running& running : running_) {
    if (running.process == nullptr || running.exit) continue;
    WorkerChannel& channel = running.process->channel();
    const short events = static_cast<short>(POLLIN | (channel.wants_write() ? POLLOUT : 0));
    if (!channel.closed()) waits.push_back({channel.fd(), events, 0});
    if (running.process->pidfd() >= 0) waits.push_back({running.process->pidfd(), POLLIN, 0});
  }
  poll(waits.data(), waits.size(), TimeoutMs());
  eventfd_t ignored;
  eventfd_read(wake_, &ignored);
}

void Supervisor::ClaimWhileSlots() {
  if (claim_after_ && clock_.Now() < *claim_after_) return;
  claim_after_.reset();
  while (true) {
    const auto training = std::count_if(
        running_.begin(), running_.end(),
        [](const Running& running) { return running.claim.spec.kind == JobKind::kTrain; });
    const int64_t others = static_cast<int64_t>(running_.size()) - training;
    if (!ClaimOne(training < options_.train_slots, others < options_.short_slots)) return;
  }
}

bool Supervisor::ClaimOne(bool training_slot, bool short_slot) {
  std::vector<JobKind> kinds;
  if (training_slot) kinds.push_back(JobKind::kTrain);
  if (short_slot) kinds.insert(kinds.end(), {JobKind::kInit, JobKind::kExport});
  if (kinds.empty()) return false;
  absl::StatusOr<std::optional<JobClaim>> claim = ledger_.ClaimNext(kinds);
  if (!claim.ok()) {
    Log(LogLevel::kError, "no job can be claimed",
        {{"error", std::string(claim.status().message())}});
    claim_after_ = clock_.Now() + kWriteRetry;
    return false;
  }
  if (!*claim) {
    // If no job runs or waits, no problem is known.
    if (running_.empty() && !ledger_.NextDue()) SetWorkerStatus(absl::OkStatus());
    return false;
  }
  Launch(**std::move(claim));
  return true;
}

void Supervisor::Launch(JobClaim claim) {
  Running& running = running_.emplace_back();
  running.claim = std::move(claim);
  running.last_sign = clock_.Now();
  const std::filesystem::path job_dir = ledger_.JobDirectory(running.claim.id);
  WorkerCommand command{options_.worker_program, job_dir / kWorkerLogFile, options_.nice,
                        running.claim.spec.train.threads};
  absl::StatusOr<std::unique_ptr<WorkerProcess>> process = WorkerProcess::Start(command);
  SetWorkerStatus(process.status());
  if (!process.ok()) {
    running.not_started = true;
    running.fault = process.status();
    return;
  }
  running.process = *std::move(process);
  Log(LogLevel::kInfo, "job started",
      {{"job", running.claim.id},
       {"kind", JobKindName(running.claim.spec.kind)},
       {"token", std::to_string(running.claim.fencing_token)},
       {"pid", std::to_string(running.process->pid())}});
  const Order order{running.claim.id,   running.claim.fencing_token,
                    job_dir.string(),   hooks_.dataset_paths(running.claim.spec),
                    running.claim.spec, options_.heartbeat,
                    options_.lease};
  running.process->channel().Send(EncodeToWorker(order));
}

void Supervisor::Attend(Running& running) {
  if (running.process == nullptr || running.exit) return;
  running.process->channel().Flush();
  // Reaped before the last read, so that this read gets everything that a dead process has sent.
  const std::optional<WorkerExit> exit = running.process->Reap();
  do {
    Hear(running);
  } while (exit && !running.process->channel().closed() && running.fault.ok());
  if (exit) {
    running.exit = exit;
    return;
  }
  if (ledger_.CancelRequested(running.claim.id)) AskToStop(running);
  CheckDeadlines(running);
}

void Supervisor::Hear(Running& running) {
  std::vector<std::string> messages;
  absl::Status status = running.process->channel().Receive(messages);
  for (const std::string& bytes : messages) {
    if (!running.fault.ok()) return;
    const absl::StatusOr<FromWorker> message = DecodeFromWorker(bytes);
    if (!message.ok()) return Fault(running, message.status());
    Handle(running, *message);
  }
  if (!status.ok()) Fault(running, std::move(status));
}

void Supervisor::Handle(Running& running, const FromWorker& message) {
  running.last_sign = clock_.Now();
  running.heard = true;
  if (std::holds_alternative<Heartbeat>(message)) {
    running.process->channel().Send(EncodeToWorker(LeaseGrant{running.claim.fencing_token}));
  } else if (const auto* result = std::get_if<WorkerResult>(&message)) {
    running.result = *result;
  } else if (const auto* body = std::get_if<JobEventBody>(&message)) {
    if (std::holds_alternative<StateChange>(*body)) {
      return Fault(running,
                   Error(Reason::kInternal,
                         "a worker reported a change of state, which only the daemon may make"));
    }
    if (absl::Status status = ledger_.Record(running.claim.id, *body); !status.ok())
      Fault(running, std::move(status));
  }
}

void Supervisor::AskToStop(Running& running) {
  if (running.process == nullptr || running.exit || running.stop_deadline) return;
  running.stop_deadline = clock_.Now() + options_.stop_grace;
  running.process->channel().Send(EncodeToWorker(StopRequest{}));
}

void Supervisor::CheckDeadlines(Running& running) {
  const SteadyTime now = clock_.Now();
  if (running.stop_deadline && now >= *running.stop_deadline) {
    Fault(running,
          Error(Reason::kWorkerHung, "the job's process did not stop within " +
                                         std::to_string(options_.stop_grace.count()) + " ms"));
    return;
  }
  const milliseconds silence = running.heard ? options_.lease : options_.start_grace;
  if (now - running.last_sign >= silence) {
    Fault(running, Error(Reason::kWorkerHung, "the job's process did not respond for " +
                                                  std::to_string(silence.count()) + " ms"));
  }
}

void Supervisor::Fault(Running& running, absl::Status status) {
  if (running.fault.ok() && !running.result) running.fault = std::move(status);
  running.process->Kill();
}

bool Supervisor::Settle(Running& running) {
  if (running.process != nullptr && !running.exit) return false;
  if (clock_.Now() < running.next_try) return false;
  if (absl::Status status = WriteEnd(running); !status.ok()) {
    Log(LogLevel::kError, "cannot write a job's end; will try again",
        {{"job", running.claim.id}, {"error", std::string(status.message())}});
    running.next_try = clock_.Now() + kWriteRetry;
    return false;
  }
  return true;
}

absl::Status Supervisor::RequeueWhy(const Running& running) const {
  if (!running.fault.ok()) return running.fault;
  if (running.result) return running.result->status;
  return Error(Reason::kWorkerCrashed, "the job's process ended with " + running.exit->Describe(),
               {{"exit", running.exit->Describe()}});
}

absl::Status Supervisor::PutBack(const Running& running) {
  const milliseconds delay = RetryDelay(options_.retry_base, failed_starts_);
  Log(LogLevel::kError, "a job waits for a worker that cannot be started",
      {{"job", running.claim.id},
       {"error", std::string(running.fault.message())},
       {"retry_ms", std::to_string(delay.count())}});
  return ledger_.PutBack(running.claim.id, running.fault, delay);
}

JobOutcome Supervisor::Succeeded(const Running& running) {
  if (running.claim.spec.kind == JobKind::kExport) {
    return JobOutcome{JobState::kSucceeded, {}, {}, running.result->files};
  }
  absl::StatusOr<std::string> version = hooks_.publish(running.claim, *running.result);
  if (!version.ok()) return JobOutcome{JobState::kFailed, version.status(), {}, {}};
  return JobOutcome{JobState::kSucceeded, {}, *std::move(version), {}};
}

absl::Status Supervisor::WriteEnd(Running& running) {
  const std::string& id = running.claim.id;
  const bool stopped = running.result ? running.result->stopped : running.stop_deadline.has_value();
  if (!running.outcome) {
    const bool storage_fault =
        !running.fault.ok() && !IsRetryable(running.fault) && running.process != nullptr;
    if (ledger_.CancelRequested(id)) {
      running.outcome = JobOutcome{JobState::kCancelled, {}, {}, {}};
    } else if (storage_fault) {
      running.outcome = JobOutcome{JobState::kFailed, running.fault, {}, {}};
    } else if (running.result && running.result->status.ok() && !running.result->stopped) {
      running.outcome = Succeeded(running);
    } else if (running.result && !running.result->status.ok() &&
               !IsRetryable(running.result->status)) {
      running.outcome = JobOutcome{JobState::kFailed, running.result->status, {}, {}};
    } else if (stopped) {
      return ledger_.Requeue(id, absl::OkStatus(), RequeueCause::kStopped);
    } else if (running.not_started) {
      return PutBack(running);
    } else {
      Log(LogLevel::kWarning, "a job's process died",
          {{"job", id}, {"why", std::string(RequeueWhy(running).message())}});
      return ledger_.Requeue(id, RequeueWhy(running), RequeueCause::kCrash);
    }
  }
  LFM2_RETURN_IF_ERROR(ledger_.End(id, *running.outcome));
  RemoveRunFiles(ledger_.JobDirectory(id));
  Log(LogLevel::kInfo, "job ended", {{"job", id}, {"state", JobStateName(running.outcome->state)}});
  return absl::OkStatus();
}

}  // namespace lfm2
