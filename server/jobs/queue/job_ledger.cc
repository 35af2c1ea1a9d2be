#include "server/jobs/queue/job_ledger.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/disk_full.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "server/jobs/wire/codec.h"

namespace lfm2 {
namespace {

constexpr std::chrono::milliseconds kSyncInterval{1'000};
constexpr int64_t kQueueFullRetryMs = 5'000;
constexpr int kMaxPage = 1'000;

absl::Status CheckSpecSize(const JobSpec& spec, const Limits& limits) {
  const int64_t bytes = static_cast<int64_t>(EncodeJobSpec(spec).size());
  if (bytes <= limits.job_spec_bytes) return absl::OkStatus();
  return Error(Reason::kMessageTooLarge, "the job's description has " + std::to_string(bytes) +
                                             " bytes, over the limit of " +
                                             std::to_string(limits.job_spec_bytes));
}

}  // namespace

JobLedger::JobLedger(LedgerOptions options, std::unique_ptr<JobStore> store,
                     const std::string& newest_id, Clock& clock)
    : options_(std::move(options)),
      jobs_dir_(options_.data_dir / "jobs"),
      clock_(clock),
      store_(std::move(store)),
      ids_(newest_id) {}

absl::StatusOr<JobRecord> JobLedger::Current(const std::string& id) {
  if (const auto it = running_.find(id); it != running_.end()) return it->second;
  if (!IsUuid(id)) return NotFound(Reason::kJobNotFound, "job", id);
  return store_->Find(id);
}

absl::StatusOr<Job> JobLedger::Submit(const std::string& principal, const std::string& request_id,
                                      const JobSpec& spec) {
  MutexLock lock(mutex_);
  return SubmitLocked(principal, request_id, spec);
}

absl::StatusOr<Job> JobLedger::SubmitLocked(const std::string& principal,
                                            const std::string& request_id, const JobSpec& spec) {
  LFM2_ASSIGN_OR_RETURN(const std::optional<JobRecord> earlier,
                        store_->FindByRequest(principal, request_id));
  if (earlier) {
    if (EncodeJobSpec(earlier->job.spec) != EncodeJobSpec(spec)) {
      return Error(
          Reason::kRequestIdReused,
          "request_id \"" + request_id + "\" was used for another request, job " + earlier->job.id,
          {{"job", earlier->job.id}});
    }
    LFM2_ASSIGN_OR_RETURN(JobRecord record, Current(earlier->job.id));
    return record.job;
  }
  if (draining_) return Error(Reason::kDraining, "the daemon is stopping and takes no new jobs");
  LFM2_RETURN_IF_ERROR(CheckSpecSize(spec, options_.limits));
  LFM2_ASSIGN_OR_RETURN(const int64_t queued, store_->Count(JobState::kQueued));
  if (queued >= options_.limits.queued_jobs) {
    return RetryLater(Reason::kQueueFull,
                      std::to_string(queued) + " jobs are queued; the limit is " +
                          std::to_string(options_.limits.queued_jobs),
                      kQueueFullRetryMs);
  }
  JobRecord record;
  record.job.created_at_ms = record.job.updated_at_ms = clock_.UnixMillis();
  record.job.id = ids_.Next(record.job.created_at_ms);
  record.job.request_id = request_id;
  record.job.principal = principal;
  record.job.spec = spec;
  record.job.last_seq = 1;
  if (absl::Status status = Create(record); !status.ok()) {
    std::error_code error;
    std::filesystem::remove_all(JobDirectory(record.job.id), error);
    return status;
  }
  return record.job;
}

absl::Status JobLedger::Create(const JobRecord& record) {
  const std::filesystem::path directory = JobDirectory(record.job.id);
  std::error_code error;
  std::filesystem::create_directory(directory, error);
  if (error) {
    return Error(MeansDiskFull(error) ? Reason::kDiskFull : Reason::kStorageIoError,
                 "making the job's folder: " + error.message());
  }
  // The folder is not synced: the next start creates it again if a power cut has removed it.
  return store_->Insert(record, {1, record.job.created_at_ms, StateChange{}});
}

absl::StatusOr<Job> JobLedger::Get(const std::string& id) {
  MutexLock lock(mutex_);
  LFM2_ASSIGN_OR_RETURN(JobRecord record, Current(id));
  return record.job;
}

absl::StatusOr<JobPage> JobLedger::List(std::optional<JobState> state, int page_size,
                                        const std::string& page_token) {
  if (page_size < 1 || page_size > kMaxPage) {
    return Error(Reason::kInvalidArgument, "page_size is " + std::to_string(page_size) +
                                               ", not 1 to " + std::to_string(kMaxPage));
  }
  if (!page_token.empty() && !IsUuid(page_token)) {
    return Error(Reason::kInvalidArgument, "page_token was not issued by this server");
  }
  MutexLock lock(mutex_);
  JobPage page;
  LFM2_ASSIGN_OR_RETURN(page.jobs, store_->List(state, page_size + 1, page_token));
  if (static_cast<int>(page.jobs.size()) > page_size) {
    page.jobs.pop_back();
    page.next_page_token = page.jobs.back().id;
  }
  return page;
}

absl::StatusOr<Job> JobLedger::Cancel(const std::string& id) {
  absl::StatusOr<Job> job;
  {
    MutexLock lock(mutex_);
    job = CancelLocked(id);
  }
  if (job.ok()) listeners_.Notify(id);
  return job;
}

absl::StatusOr<Job> JobLedger::CancelLocked(const std::string& id) {
  LFM2_ASSIGN_OR_RETURN(JobRecord record, Current(id));
  if (IsTerminal(record.job.state)) {
    return Error(Reason::kWrongState,
                 "job " + id + " has ended already: " + JobStateName(record.job.state),
                 {{"job", id}, {"state", JobStateName(record.job.state)}});
  }
  if (record.job.cancel_requested) return record.job;
  record.job.cancel_requested = true;
  if (record.job.state == JobState::kQueued) {
    LFM2_RETURN_IF_ERROR(
        Change(record, StateChange{JobState::kCancelled, record.job.attempt, {}, {}, {}}));
    not_before_.erase(id);
    LFM2_ASSIGN_OR_RETURN(record, Current(id));
    return record.job;
  }
  record.job.updated_at_ms = clock_.UnixMillis();
  LFM2_RETURN_IF_ERROR(store_->Update(record));
  running_.at(id) = record;
  return record.job;
}

absl::StatusOr<std::vector<JobEvent>> JobLedger::ReadEvents(const std::string& id, int64_t from_seq,
                                                            int max) {
  std::vector<std::string> stored;
  {
    MutexLock lock(mutex_);
    LFM2_RETURN_IF_ERROR(Current(id).status());
    LFM2_ASSIGN_OR_RETURN(stored, store_->Events(id, from_seq, max));
  }
  std::vector<JobEvent> events;
  events.reserve(stored.size());
  for (const std::string& bytes : stored) {
    LFM2_ASSIGN_OR_RETURN(JobEvent event, DecodeJobEvent(bytes));
    events.push_back(std::move(event));
  }
  return events;
}

void JobLedger::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
}

absl::Status JobLedger::Append(JobRecord& record, const JobEventBody& body, Kept kept) {
  JobRecord next = record;
  const JobEvent event{next.job.last_seq + 1, clock_.UnixMillis(), body};
  ApplyEvent(event, next);
  LFM2_RETURN_IF_ERROR(store_->Append(next, event, kept));
  record = std::move(next);
  if (kept == Kept::kOnDisk) {
    unsynced_since_.reset();
  } else if (!unsynced_since_) {
    unsynced_since_ = clock_.Now();
  }
  return absl::OkStatus();
}

absl::Status JobLedger::Change(JobRecord next, const StateChange& change) {
  LFM2_RETURN_IF_ERROR(Append(next, change, Kept::kOnDisk));
  const std::string id = next.job.id;
  if (change.state == JobState::kRunning) {
    running_[id] = std::move(next);
  } else {
    running_.erase(id);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<JobClaim>> JobLedger::ClaimNext(const std::vector<JobKind>& kinds) {
  absl::StatusOr<std::optional<JobClaim>> claim;
  {
    MutexLock lock(mutex_);
    claim = ClaimLocked(kinds);
  }
  if (claim.ok() && *claim) listeners_.Notify((*claim)->id);
  return claim;
}

absl::StatusOr<std::optional<JobClaim>> JobLedger::ClaimLocked(const std::vector<JobKind>& kinds) {
  const int limit = static_cast<int>(not_before_.size()) + 1;
  std::string oldest;
  for (const JobKind kind : kinds) {
    LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> ids, store_->Queued(kind, limit));
    for (const std::string& id : ids) {
      const auto wait = not_before_.find(id);
      if (wait != not_before_.end() && wait->second > clock_.Now()) continue;
      if (oldest.empty() || id < oldest) oldest = id;
      break;
    }
  }
  if (oldest.empty()) return std::nullopt;
  LFM2_ASSIGN_OR_RETURN(JobClaim claim, ClaimOne(oldest));
  return std::optional<JobClaim>(std::move(claim));
}

absl::StatusOr<JobClaim> JobLedger::ClaimOne(const std::string& id) {
  LFM2_ASSIGN_OR_RETURN(JobRecord record, Current(id));
  ++record.fencing_token;
  JobClaim claim{id, record.job.spec, record.fencing_token};
  LFM2_RETURN_IF_ERROR(
      Change(record, StateChange{JobState::kRunning, record.job.attempt, {}, {}, {}}));
  not_before_.erase(id);
  return claim;
}

absl::Status JobLedger::Record(const std::string& id, const JobEventBody& body) {
  {
    MutexLock lock(mutex_);
    LFM2_RETURN_IF_ERROR(RecordLocked(id, body));
  }
  listeners_.Notify(id);
  return absl::OkStatus();
}

absl::Status JobLedger::RecordLocked(const std::string& id, const JobEventBody& body) {
  const auto it = running_.find(id);
  if (it == running_.end()) return Error(Reason::kWrongState, "job " + id + " is not running");
  return Append(it->second, body,
                std::holds_alternative<CheckpointInfo>(body) ? Kept::kOnDisk : Kept::kInKernel);
}

bool JobLedger::CancelRequested(const std::string& id) {
  MutexLock lock(mutex_);
  const auto it = running_.find(id);
  return it != running_.end() && it->second.job.cancel_requested;
}

absl::Status JobLedger::End(const std::string& id, const JobOutcome& outcome) {
  {
    MutexLock lock(mutex_);
    LFM2_ASSIGN_OR_RETURN(const JobRecord record, Current(id));
    LFM2_RETURN_IF_ERROR(
        Change(record, StateChange{outcome.state, record.job.attempt, outcome.status,
                                   outcome.result_version, outcome.files}));
  }
  listeners_.Notify(id);
  return absl::OkStatus();
}

absl::Status JobLedger::Requeue(const std::string& id, const absl::Status& why,
                                RequeueCause cause) {
  {
    MutexLock lock(mutex_);
    LFM2_RETURN_IF_ERROR(RequeueLocked(id, why, cause));
  }
  listeners_.Notify(id);
  return absl::OkStatus();
}

absl::Status JobLedger::PutBack(const std::string& id, const absl::Status& why,
                                std::chrono::milliseconds delay) {
  {
    MutexLock lock(mutex_);
    LFM2_ASSIGN_OR_RETURN(const JobRecord record, Current(id));
    LFM2_RETURN_IF_ERROR(
        Change(record, StateChange{JobState::kQueued, record.job.attempt, why, {}, {}}));
    not_before_[id] = clock_.Now() + delay;
  }
  listeners_.Notify(id);
  return absl::OkStatus();
}

absl::Status JobLedger::RequeueLocked(const std::string& id, const absl::Status& why,
                                      RequeueCause cause) {
  LFM2_ASSIGN_OR_RETURN(JobRecord record, Current(id));
  if (cause == RequeueCause::kCrash) CountCrash(record);
  if (cause == RequeueCause::kCrash && IsCrashLoop(options_.retry, record)) {
    const absl::Status status = Error(
        Reason::kJobCrashLoop,
        "the job's process died " + std::to_string(record.crashes) + " times at step " +
            std::to_string(record.high_step) + "; the last time: " + std::string(why.message()),
        {{"crashes", std::to_string(record.crashes)}, {"step", std::to_string(record.high_step)}});
    return Change(record, StateChange{JobState::kQuarantined, record.job.attempt, status, {}, {}});
  }
  const SteadyTime due =
      clock_.Now() +
      (cause == RequeueCause::kCrash ? RetryDelay(options_.retry, record) : options_.retry.base);
  LFM2_RETURN_IF_ERROR(
      Change(record, StateChange{JobState::kQueued, record.job.attempt + 1, why, {}, {}}));
  not_before_[id] = due;
  return absl::OkStatus();
}

void JobLedger::SyncDue() {
  MutexLock lock(mutex_);
  const SteadyTime now = clock_.Now();
  if (!unsynced_since_ || now - *unsynced_since_ < kSyncInterval) return;
  unsynced_since_.reset();
  if (absl::Status status = store_->Sync(); !status.ok()) {
    unsynced_since_ = now;
    Log(LogLevel::kError, "events not synced", {{"error", std::string(status.message())}});
  }
}

std::optional<SteadyTime> JobLedger::NextDue() {
  MutexLock lock(mutex_);
  std::optional<SteadyTime> next;
  for (const auto& [id, due] : not_before_) {
    if (!next || due < *next) next = due;
  }
  if (unsynced_since_) {
    const SteadyTime due = *unsynced_since_ + kSyncInterval;
    if (!next || due < *next) next = due;
  }
  return next;
}

}  // namespace lfm2
