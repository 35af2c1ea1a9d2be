// Jobs and their events in SQLite: data_dir/jobs.sqlite3, opened by one process through one
// connection (locking_mode EXCLUSIVE, WAL). A row holds where a job stands after its newest event;
// both are written in one transaction, so neither is ever behind.
//
// What is kept when a call returns: Kept::kOnDisk survives a power cut (synchronous FULL: the
// commit syncs the log, and with it all that was written before). Kept::kInKernel survives kill -9
// of this process, and a power cut once a later call is kOnDisk or Sync returns.
//
// Thread rule: one thread at a time. Errors: kDiskFull, kStorageIoError, kJobStoreCorrupt; after
// one nothing has changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "server/jobs/queue/job_record.h"
#include "server/jobs/queue/sqlite_statement.h"

namespace lfm2 {

enum class Kept { kInKernel, kOnDisk };

class JobStore {
 public:
  // Makes the file when absent. kJobStoreCorrupt when it cannot be read, or is missing or empty
  // while `jobs_dir` holds jobs: it is never made anew over jobs. kUnsupported for a file of a
  // newer version of this program, kWrongState when another process has it open.
  static absl::StatusOr<std::unique_ptr<JobStore>> Open(const std::filesystem::path& file,
                                                        const std::filesystem::path& jobs_dir);
  ~JobStore();
  JobStore(const JobStore&) = delete;
  JobStore& operator=(const JobStore&) = delete;

  // A new job with its first event. On disk.
  absl::Status Insert(const JobRecord& record, const JobEvent& first);
  // A job's next event, and the row as it is after it (all but id, principal, request_id, spec,
  // created_at_ms).
  absl::Status Append(const JobRecord& record, const JobEvent& event, Kept kept);
  // The row alone, with no new event. On disk.
  absl::Status Update(const JobRecord& record);
  absl::Status Sync();  // what was kept in the kernel is on disk
  // Events from a number on, at most `max`, as EncodeJobEvent made them.
  absl::StatusOr<std::vector<std::string>> Events(const std::string& id, int64_t from_seq, int max);
  absl::StatusOr<JobRecord> Find(const std::string& id);  // kJobNotFound
  absl::StatusOr<std::optional<JobRecord>> FindByRequest(const std::string& principal,
                                                         const std::string& request_id);
  // Newest first, ids below `before` when it is not empty.
  absl::StatusOr<std::vector<Job>> List(std::optional<JobState> state, int limit,
                                        const std::string& before);
  absl::StatusOr<int64_t> Count(JobState state);
  absl::StatusOr<std::vector<std::string>> Queued(JobKind kind, int limit);  // ids, oldest first
  absl::StatusOr<std::vector<std::string>> Unfinished();                     // ids, oldest first
  absl::StatusOr<std::optional<JobState>> StateOf(const std::string& id);    // nullopt: no such job
  absl::StatusOr<std::string> NewestId();  // empty when there is none

 private:
  explicit JobStore(sqlite3* db) : db_(db) {}
  absl::Status Execute(const char* sql);
  absl::StatusOr<int64_t> Number(const char* sql);
  absl::Status Configure();
  absl::Status Check();
  absl::Status Migrate(const std::filesystem::path& jobs_dir);
  absl::StatusOr<std::vector<std::string>> Ids(const char* sql, int64_t first, int64_t second);
  // Runs `write` in a transaction that is kept so.
  absl::Status Write(Kept kept, absl::FunctionRef<absl::Status()> write);
  absl::Status WriteRow(const JobRecord& record);
  absl::Status WriteEvent(const std::string& id, const JobEvent& event);

  // A store of schema 1, inside the transaction that makes it one of schema 2:
  // job_store_upgrade.cc.
  absl::Status Upgrade(const std::filesystem::path& jobs_dir);
  absl::Status UpgradeSpec(const std::string& id);
  absl::Status UpgradeEvents(const std::string& id, const std::filesystem::path& file);

  sqlite3* const db_;
  Kept kept_ = Kept::kOnDisk;  // what the connection is set to
  // Prepared once: they run with each step of a job. They go before the connection.
  std::unique_ptr<SqliteStatement> add_event_, change_row_;
};

}  // namespace lfm2
