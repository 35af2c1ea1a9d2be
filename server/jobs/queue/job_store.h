// Jobs and their events in SQLite: data_dir/jobs.sqlite3, opened by one process through one
// connection (locking_mode EXCLUSIVE, WAL). A row holds a job's state after its newest event; both
// are written in one transaction, so they always agree.
//
// Durability when a call returns: Kept::kOnDisk survives a power cut (synchronous FULL: the commit
// syncs the log, including everything that was written before). Kept::kInKernel survives kill -9 of
// this process, and also a power cut after a later kOnDisk call or Sync.
//
// Thread rule: one thread at a time. Errors: kDiskFull, kStorageIoError, kJobStoreCorrupt; after an
// error nothing has changed.
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
  // Creates the file if absent. kJobStoreCorrupt if it cannot be read, or if it is missing or empty
  // while `jobs_dir` holds jobs: a new store is never created over existing jobs. kUnsupported for
  // a file of a newer version of this program, kWrongState if another process has it open.
  static absl::StatusOr<std::unique_ptr<JobStore>> Open(const std::filesystem::path& file,
                                                        const std::filesystem::path& jobs_dir);
  ~JobStore();
  JobStore(const JobStore&) = delete;
  JobStore& operator=(const JobStore&) = delete;

  // Adds a new job with its first event. On disk.
  absl::Status Insert(const JobRecord& record, const JobEvent& first);
  // Adds a job's next event and updates the row for it (except id, principal, request_id, spec,
  // created_at_ms).
  absl::Status Append(const JobRecord& record, const JobEvent& event, Kept kept);
  // Updates only the row, without a new event. On disk.
  absl::Status Update(const JobRecord& record);
  absl::Status Sync();  // writes everything kInKernel to disk
  // At most `max` events, starting with number from_seq, as EncodeJobEvent made them.
  absl::StatusOr<std::vector<std::string>> Events(const std::string& id, int64_t from_seq, int max);
  absl::StatusOr<JobRecord> Find(const std::string& id);  // kJobNotFound
  absl::StatusOr<std::optional<JobRecord>> FindByRequest(const std::string& principal,
                                                         const std::string& request_id);
  // Newest first; only ids below `before` unless that is empty.
  absl::StatusOr<std::vector<Job>> List(std::optional<JobState> state, int limit,
                                        const std::string& before);
  absl::StatusOr<int64_t> Count(JobState state);
  absl::StatusOr<std::vector<std::string>> Queued(JobKind kind, int limit);  // ids, oldest first
  absl::StatusOr<std::vector<std::string>> Unfinished();                     // ids, oldest first
  absl::StatusOr<std::optional<JobState>> StateOf(const std::string& id);    // nullopt: no such job
  absl::StatusOr<std::string> NewestId();  // empty if there are no jobs

 private:
  explicit JobStore(sqlite3* db) : db_(db) {}
  absl::Status Execute(const char* sql);
  absl::StatusOr<int64_t> Number(const char* sql);
  absl::Status Configure();
  absl::Status Check();
  absl::Status Migrate(const std::filesystem::path& jobs_dir);
  absl::StatusOr<std::vector<std::string>> Ids(const char* sql, int64_t first, int64_t second);
  // Runs `write` in a transaction with this durability.
  absl::Status Write(Kept kept, absl::FunctionRef<absl::Status()> write);
  absl::Status WriteRow(const JobRecord& record);
  absl::Status WriteEvent(const std::string& id, const JobEvent& event);

  // Upgrades a store of schema 1 to schema 2, inside one transaction: job_store_upgrade.cc.
  absl::Status Upgrade(const std::filesystem::path& jobs_dir);
  absl::Status UpgradeSpec(const std::string& id);
  absl::Status UpgradeEvents(const std::string& id, const std::filesystem::path& file);

  sqlite3* const db_;
  Kept kept_ = Kept::kOnDisk;  // the connection's current setting
  // Prepared once, because they run with each step of a job. Destroyed before the connection.
  std::unique_ptr<SqliteStatement> add_event_, change_row_;
};

}  // namespace lfm2
