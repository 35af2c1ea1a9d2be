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

constexpr size_t kOpenLogs = 64;
constexpr std::chrono::milliseconds kSaveInterval{1'000};
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

void ApplyEvent(const JobEventBody& body, JobRecord& record) {
  Job& job = record.job;
  if (const auto* step = std::get_if<StepMetrics>(&body)) {
    job.step = step->step;
    job.loss = step->loss;
    job.tokens_per_second = step->tokens_per_second;
    record.high_step = std::max(record.high_step, step->step);
  } else if (const auto* checkpoint = std::get_if<CheckpointInfo>(&body)) {
    job.checkpoint = checkpoint->name;
  } else if (const auto* change = std::get_if<StateChange>(&body)) {
    job.state = change->state;
    job.attempt = change->attempt;
    job.error = IsTerminal(change->state) ? change->status : absl::OkStatus();
    job.result_version = change->result_version;
    job.files = change->files;
  }
}

JobLedger::JobLedger(LedgerOptions options, std::unique_ptr<JobStore> store,
                     const std::string& newest_id, Clock& clock)
    : options_(std::move(options)),
      jobs_dir_(options_.data_dir / "jobs"),
      clock_(clock),
      store_(std::move(store)),
      logs_(jobs_dir_, kOpenLogs),
      ids_(newest_id) {}

absl::StatusOr<JobRecord> JobLedger::Current(const std::string& id) {
  if (const auto it = live_.find(id); it != live_.end()) return it->second.record;
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
    logs_.Forget(record.job.id);
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
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<EventLog> log, logs_.Get(record.job.id, 0));
  LFM2_RETURN_IF_ERROR(log->Append(record.job.created_at_ms, StateChange{}).status());
  LFM2_RETURN_IF_ERROR(log->Sync());
  LFM2_RETURN_IF_ERROR(SyncDirectory(directory));
  LFM2_RETURN_IF_ERROR(SyncDirectory(jobs_dir_));
  return store_->Insert(record);
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
    return Error(Reason::kInvalidArgument, "page_token is not one that a listing gave");
  }
  MutexLock lock(mutex_);
  JobPage page;
  LFM2_ASSIGN_OR_RETURN(page.jobs, store_->List(state, page_size + 1, page_token));
  if (static_cast<int>(page.jobs.size()) > page_size) {
    page.jobs.pop_back();
    page.next_page_token = page.jobs.back().id;
  }
  for (Job& job : page.jobs) {
    if (const auto it = live_.find(job.id); it != live_.end()) job = it->second.record.job;
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
  live_.at(id).record = record;
  return record.job;
}

absl::StatusOr<std::vector<JobEvent>> JobLedger::ReadEvents(const std::string& id, int64_t from_seq,
                                                            int max) {
  std::shared_ptr<EventLog> log;
  {
    MutexLock lock(mutex_);
    LFM2_ASSIGN_OR_RETURN(const JobRecord record, Current(id));
    LFM2_ASSIGN_OR_RETURN(log, logs_.Get(id, record.job.last_seq));
  }
  return log->Read(from_seq, max);
}

void JobLedger::Drain() {
  MutexLock lock(mutex_);
  draining_ = true;
}

absl::Status JobLedger::Change(JobRecord next, StateChange change) {
  const std::string id = next.job.id;
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<EventLog> log, logs_.Get(id, next.job.last_seq));
  const int64_t now_ms = clock_.UnixMillis();
  LFM2_ASSIGN_OR_RETURN(next.job.last_seq, log->Append(now_ms, change));
  ApplyEvent(change, next);
  next.job.updated_at_ms = now_ms;
  Live& live = live_[id];
  live = Live{std::move(next), log, clock_.Now(), true};
  // The change is made. A row that cannot be written now is written later.
  if (absl::Status status = Save(live); !status.ok()) {
    Log(LogLevel::kError, "job row not written",
        {{"job", id}, {"error", std::string(status.message())}});
  } else if (live.record.job.state != JobState::kRunning) {
    live_.erase(id);
  }
  return absl::OkStatus();
}

absl::Status JobLedger::Save(Live& live) {
  live.saved_at = clock_.Now();
  LFM2_RETURN_IF_ERROR(
      live.log->Sync());  // the row never knows of an event that a power cut could take
  LFM2_RETURN_IF_ERROR(store_->Update(live.record));
  live.dirty = false;
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
  const int limit = static_cast<int>(not_before_.size() + live_.size()) + 1;
  std::string oldest;
  for (const JobKind kind : kinds) {
    LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> ids, store_->Queued(kind, limit));
    for (const std::string& id : ids) {
      const auto wait = not_before_.find(id);
      if (live_.contains(id) || (wait != not_before_.end() && wait->second > clock_.Now()))
        continue;
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
  const auto it = live_.find(id);
  if (it == live_.end()) return Error(Reason::kWrongState, "job " + id + " does not run");
  Live& live = it->second;
  const int64_t now_ms = clock_.UnixMillis();
  LFM2_ASSIGN_OR_RETURN(live.record.job.last_seq, live.log->Append(now_ms, body));
  ApplyEvent(body, live.record);
  live.record.job.updated_at_ms = now_ms;
  live.dirty = true;
  if (std::holds_alternative<CheckpointInfo>(body)) return Save(live);
  return absl::OkStatus();
}

bool JobLedger::CancelRequested(const std::string& id) {
  MutexLock lock(mutex_);
  const auto it = live_.find(id);
  return it != live_.end() && it->second.record.job.cancel_requested;
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

void JobLedger::SaveDue() {
  MutexLock lock(mutex_);
  const SteadyTime now = clock_.Now();
  for (auto it = live_.begin(); it != live_.end();) {
    Live& live = it->second;
    if (live.dirty && now - live.saved_at >= kSaveInterval) {
      if (absl::Status status = Save(live); !status.ok()) {
        Log(LogLevel::kError, "job row not written",
            {{"job", it->first}, {"error", std::string(status.message())}});
      }
    }
    const bool settled = !live.dirty && live.record.job.state != JobState::kRunning;
    it = settled ? live_.erase(it) : std::next(it);
  }
}

std::optional<SteadyTime> JobLedger::NextDue() {
  MutexLock lock(mutex_);
  std::optional<SteadyTime> next;
  for (const auto& [id, due] : not_before_) {
    if (!next || due < *next) next = due;
  }
  for (const auto& [id, live] : live_) {
    const SteadyTime due = live.saved_at + kSaveInterval;
    if (live.dirty && (!next || due < *next)) next = due;
  }
  return next;
}

}  // namespace lfm2
