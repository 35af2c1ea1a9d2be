// Jobs in SQLite: data_dir/jobs.sqlite3, opened by one process through one connection (locking_mode
// EXCLUSIVE, WAL, synchronous FULL). A row holds where a job stands; its events are in its own
// file. Every write is durable on return.
//
// Thread rule: one thread at a time. Errors: kDiskFull, kStorageIoError, kJobStoreCorrupt.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/wire/job.h"

struct sqlite3;

namespace lfm2 {

struct JobRecord {
  Job job;
  int64_t fencing_token = 0;  // one more with each claim
  int64_t crashes = 0;        // since the job last got further
  int64_t high_step = 0;      // furthest step of any attempt
  int64_t crash_step = 0;     // high_step when it last crashed
};

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

  absl::Status Insert(const JobRecord& record);
  absl::Status Update(
      const JobRecord& record);  // all but id, principal, request_id, spec, created_at_ms
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
  absl::Status Migrate(bool jobs_exist);
  absl::StatusOr<std::vector<std::string>> Ids(const char* sql, int64_t first, int64_t second);

  sqlite3* const db_;
};

}  // namespace lfm2
