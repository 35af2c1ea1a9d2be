// Recovery at the start of a JobLedger: queues interrupted jobs again and removes leftovers.
#include <system_error>
#include <utility>

#include "base/errors.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "server/jobs/queue/job_ledger.h"
#include "server/jobs/wire/job_folder.h"

namespace lfm2 {
namespace {

// A folder from a Submit that did not reach the insertion of its row is empty, or holds only files
// that older programs wrote first.
bool HoldsNoWork(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::directory_iterator it(directory, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (it->path().filename() != kOldEventsFile) return false;
  }
  return !error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobLedger>> JobLedger::Open(LedgerOptions options, Clock& clock) {
  const std::filesystem::path jobs_dir = options.data_dir / "jobs";
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<JobStore> store,
                        JobStore::Open(options.data_dir / "jobs.sqlite3", jobs_dir));
  std::error_code error;
  std::filesystem::create_directories(jobs_dir, error);
  if (error) return Error(Reason::kStorageIoError, "making the folder of jobs: " + error.message());
  LFM2_RETURN_IF_ERROR(SyncDirectory(options.data_dir));
  LFM2_ASSIGN_OR_RETURN(std::string newest, store->NewestId());
  std::unique_ptr<JobLedger> ledger(
      new JobLedger(std::move(options), std::move(store), newest, clock));
  LFM2_RETURN_IF_ERROR(ledger->Recover());
  return ledger;
}

absl::Status JobLedger::Recover() {
  MutexLock lock(mutex_);
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> ids, store_->Unfinished());
  for (const std::string& id : ids) LFM2_RETURN_IF_ERROR(RecoverJob(id));
  CleanFolders();
  return absl::OkStatus();
}

absl::Status JobLedger::RecoverJob(const std::string& id) {
  LFM2_ASSIGN_OR_RETURN(JobRecord record, store_->Find(id));
  std::error_code error;
  // It is absent if a user or a power cut has removed it.
  std::filesystem::create_directory(JobDirectory(id), error);
  const Job& job = record.job;
  if (!IsTerminal(job.state) && job.cancel_requested) {
    return Change(record, StateChange{JobState::kCancelled, job.attempt, {}, {}, {}});
  }
  if (job.state == JobState::kRunning) {
    const absl::Status why =
        Error(Reason::kWorkerCrashed, "the daemon ended while the job was running");
    return Change(record, StateChange{JobState::kQueued, job.attempt + 1, why, {}, {}});
  }
  return absl::OkStatus();
}

void JobLedger::CleanFolders() {
  std::error_code error;
  std::filesystem::directory_iterator it(jobs_dir_, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::filesystem::path directory = it->path();
    const std::string id = directory.filename().string();
    if (!IsUuid(id)) continue;
    const absl::StatusOr<std::optional<JobState>> state = store_->StateOf(id);
    if (!state.ok()) continue;
    std::error_code ignored;
    if (*state) std::filesystem::remove(directory / kOldEventsFile, ignored);
    if (!*state && HoldsNoWork(directory)) {
      std::filesystem::remove_all(directory, ignored);
    } else if (!*state) {
      Log(LogLevel::kWarning, "a job's folder is not in the job store", {{"job", id}});
    } else if (IsTerminal(**state)) {
      RemoveRunFiles(directory);
      RemoveExport(directory);
    }
  }
}

}  // namespace lfm2
