#include "server/jobs/queue/job_store.h"

#include <sqlite3.h>

#include <limits>
#include <system_error>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/jobs/wire/codec.h"

namespace lfm2 {
namespace {

constexpr int64_t kSchemaVersion = 2;

constexpr char kCreateJobs[] = R"sql(
CREATE TABLE jobs (
  id TEXT PRIMARY KEY NOT NULL,
  principal TEXT NOT NULL,
  request_id TEXT NOT NULL,
  kind INTEGER NOT NULL,
  spec BLOB NOT NULL,
  created_at_ms INTEGER NOT NULL,
  state INTEGER NOT NULL,
  updated_at_ms INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  step INTEGER NOT NULL,
  loss REAL NOT NULL,
  tokens_per_second REAL NOT NULL,
  checkpoint TEXT NOT NULL,
  cancel_requested INTEGER NOT NULL,
  error BLOB NOT NULL,
  result_version TEXT NOT NULL,
  files BLOB NOT NULL,
  last_seq INTEGER NOT NULL,
  fencing_token INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  high_step INTEGER NOT NULL,
  crash_step INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_by_request ON jobs (principal, request_id) WHERE request_id <> '';
CREATE INDEX jobs_by_state ON jobs (state, kind, id);
)sql";

constexpr char kCreateEvents[] = R"sql(
CREATE TABLE events (
  job TEXT NOT NULL,
  seq INTEGER NOT NULL,
  event BLOB NOT NULL,
  PRIMARY KEY (job, seq)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 2;
)sql";

constexpr size_t kMaxEventBytes = 32 << 20;

constexpr char kAddJob[] =
    "INSERT INTO jobs (id, principal, request_id, kind, spec, created_at_ms, state, updated_at_ms,"
    " attempt, step, loss, tokens_per_second, checkpoint, cancel_requested, error, result_version,"
    " files, last_seq, fencing_token, crashes, high_step, crash_step)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

constexpr char kChangeRow[] =
    "UPDATE jobs SET state=?, updated_at_ms=?, attempt=?, step=?, loss=?, tokens_per_second=?,"
    " checkpoint=?, cancel_requested=?, error=?, result_version=?, files=?, last_seq=?,"
    " fencing_token=?, crashes=?, high_step=?, crash_step=? WHERE id=?";

constexpr char kAddEvent[] = "INSERT INTO events (job, seq, event) VALUES (?,?,?)";

constexpr char kColumns[] =
    "SELECT id, principal, request_id, spec, created_at_ms, state, updated_at_ms, attempt, step, "
    "loss,"
    " tokens_per_second, checkpoint, cancel_requested, error, result_version, files, last_seq,"
    " fencing_token, crashes, high_step, crash_step FROM jobs ";

// Stands for NaN, which a loss may be and which SQLite would store as NULL.
constexpr double kNotANumber = -1e308;
double Storable(double value) { return value == value ? value : kNotANumber; }
double Loaded(double value) {
  return value == kNotANumber ? std::numeric_limits<double>::quiet_NaN() : value;
}

absl::StatusOr<JobRecord> ReadRecord(SqliteStatement& row) {
  JobRecord record;
  Job& job = record.job;
  job.id = row.Bytes();
  job.principal = row.Bytes();
  job.request_id = row.Bytes();
  const std::string spec = row.Bytes();
  job.created_at_ms = row.Integer();
  const int64_t state = row.Integer();
  job.updated_at_ms = row.Integer();
  job.attempt = row.Integer();
  job.step = row.Integer();
  job.loss = Loaded(row.Real());
  job.tokens_per_second = Loaded(row.Real());
  job.checkpoint = row.Bytes();
  job.cancel_requested = row.Integer() != 0;
  const std::string error = row.Bytes();
  job.result_version = row.Bytes();
  const std::string files = row.Bytes();
  job.last_seq = row.Integer();
  record.fencing_token = row.Integer();
  record.crashes = row.Integer();
  record.high_step = row.Integer();
  record.crash_step = row.Integer();
  if (state < 0 || state > static_cast<int64_t>(JobState::kQuarantined)) {
    return Error(Reason::kJobStoreCorrupt,
                 "job " + job.id + " has the unknown state " + std::to_string(state));
  }
  job.state = static_cast<JobState>(state);
  job.error = ParseStatus(error);
  LFM2_ASSIGN_OR_RETURN(job.spec, DecodeJobSpec(spec));
  LFM2_ASSIGN_OR_RETURN(job.files, DecodeFiles(files));
  return record;
}

void BindProgress(SqliteStatement& statement, const JobRecord& record) {
  const Job& job = record.job;
  statement.Integer(static_cast<int64_t>(job.state))
      .Integer(job.updated_at_ms)
      .Integer(job.attempt)
      .Integer(job.step)
      .Real(Storable(job.loss))
      .Real(Storable(job.tokens_per_second))
      .Text(job.checkpoint)
      .Integer(job.cancel_requested)
      .Blob(SerializeStatus(job.error))
      .Text(job.result_version)
      .Blob(EncodeFiles(job.files))
      .Integer(job.last_seq)
      .Integer(record.fencing_token)
      .Integer(record.crashes)
      .Integer(record.high_step)
      .Integer(record.crash_step);
}

bool HoldsEntries(const std::filesystem::path& directory) {
  std::error_code error;
  return std::filesystem::is_directory(directory, error) &&
         !std::filesystem::is_empty(directory, error) && !error;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobStore>> JobStore::Open(const std::filesystem::path& file,
                                                         const std::filesystem::path& jobs_dir) {
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(
      file.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (db == nullptr) return Error(Reason::kOutOfMemory, "no memory to open the job store");
  std::unique_ptr<JobStore> store(new JobStore(db));
  if (code != SQLITE_OK) return SqliteStatus(db, "opening");
  LFM2_RETURN_IF_ERROR(store->Configure());
  LFM2_RETURN_IF_ERROR(store->Check());
  LFM2_RETURN_IF_ERROR(store->Migrate(jobs_dir));
  return store;
}

JobStore::~JobStore() {
  add_event_.reset();
  change_row_.reset();
  sqlite3_close(db_);
}

absl::Status JobStore::Execute(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return absl::OkStatus();
  return SqliteStatus(db_, "writing");
}

absl::StatusOr<int64_t> JobStore::Number(const char* sql) {
  SqliteStatement statement(db_, sql);
  LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("reading"));
  if (!row) return Error(Reason::kInternal, "the job store returned no row");
  return statement.Integer();
}

absl::Status JobStore::Configure() {
  // EXCLUSIVE before WAL: the index of the log is then in this process's memory, and other
  // processes cannot open the file.
  return Execute(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
      "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
      "BEGIN EXCLUSIVE; COMMIT;");
}

absl::Status JobStore::Check() {
  // Checks only the table of jobs if it exists: there may be many events, and a damaged one is
  // found when it is read.
  LFM2_ASSIGN_OR_RETURN(const int64_t version, Number("PRAGMA user_version"));
  SqliteStatement statement(
      db_, version == kSchemaVersion ? "PRAGMA quick_check(jobs)" : "PRAGMA quick_check(1)");
  LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("checking"));
  const std::string answer = row ? statement.Bytes() : "no answer";
  if (answer == "ok") return absl::OkStatus();
  return Error(Reason::kJobStoreCorrupt, "the job store is damaged: " + answer);
}

absl::Status JobStore::Migrate(const std::filesystem::path& jobs_dir) {
  LFM2_ASSIGN_OR_RETURN(const int64_t version, Number("PRAGMA user_version"));
  if (version > kSchemaVersion) {
    return Error(Reason::kUnsupported,
                 "the job store has schema version " + std::to_string(version) +
                     "; this program knows versions up to " + std::to_string(kSchemaVersion));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  if (version == 1) {
    return Write(Kept::kOnDisk, [&] {
      LFM2_RETURN_IF_ERROR(Execute(kCreateEvents));
      return Upgrade(jobs_dir);
    });
  }
  LFM2_ASSIGN_OR_RETURN(const int64_t tables, Number("SELECT count(*) FROM sqlite_schema"));
  if (tables > 0 || HoldsEntries(jobs_dir)) {
    return Error(Reason::kJobStoreCorrupt,
                 tables > 0 ? "the job store's file is a database of another program"
                            : "the job store is missing or empty, but there are folders of jobs");
  }
  return Write(Kept::kOnDisk, [&] {
    LFM2_RETURN_IF_ERROR(Execute(kCreateJobs));
    return Execute(kCreateEvents);
  });
}

absl::Status JobStore::Write(Kept kept, absl::FunctionRef<absl::Status()> write) {
  if (kept != kept_) {
    LFM2_RETURN_IF_ERROR(Execute(kept == Kept::kOnDisk ? "PRAGMA synchronous = FULL"
                                                       : "PRAGMA synchronous = NORMAL"));
    kept_ = kept;
  }
  LFM2_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE"));
  absl::Status status = write();
  if (status.ok()) status = Execute("COMMIT");
  if (!status.ok() && sqlite3_get_autocommit(db_) == 0) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return status;
}

absl::Status JobStore::WriteRow(const JobRecord& record) {
  if (change_row_ == nullptr) change_row_ = std::make_unique<SqliteStatement>(db_, kChangeRow);
  BindProgress(*change_row_, record);
  change_row_->Text(record.job.id);
  const absl::Status status = change_row_->Step("changing a job").status();
  change_row_->Reset();
  LFM2_RETURN_IF_ERROR(status);
  if (sqlite3_changes(db_) == 1) return absl::OkStatus();
  return NotFound(Reason::kJobNotFound, "job", record.job.id);
}

absl::Status JobStore::WriteEvent(const std::string& id, const JobEvent& event) {
  const std::string bytes = EncodeJobEvent(event);
  if (bytes.size() > kMaxEventBytes) {
    return Error(Reason::kInternal, "an event has " + std::to_string(bytes.size()) +
                                        " bytes, over the limit of " +
                                        std::to_string(kMaxEventBytes));
  }
  if (add_event_ == nullptr) add_event_ = std::make_unique<SqliteStatement>(db_, kAddEvent);
  add_event_->Text(id).Integer(event.seq).Blob(bytes);
  const absl::Status status = add_event_->Step("adding an event").status();
  add_event_->Reset();
  return status;
}

absl::Status JobStore::Insert(const JobRecord& record, const JobEvent& first) {
  return Write(Kept::kOnDisk, [&] {
    SqliteStatement statement(db_, kAddJob);
    const Job& job = record.job;
    statement.Text(job.id)
        .Text(job.principal)
        .Text(job.request_id)
        .Integer(static_cast<int64_t>(job.spec.kind))
        .Blob(EncodeJobSpec(job.spec))
        .Integer(job.created_at_ms);
    BindProgress(statement, record);
    LFM2_RETURN_IF_ERROR(statement.Step("adding a job").status());
    return WriteEvent(job.id, first);
  });
}

absl::Status JobStore::Append(const JobRecord& record, const JobEvent& event, Kept kept) {
  return Write(kept, [&] {
    LFM2_RETURN_IF_ERROR(WriteEvent(record.job.id, event));
    return WriteRow(record);
  });
}

absl::Status JobStore::Update(const JobRecord& record) {
  return Write(Kept::kOnDisk, [&] { return WriteRow(record); });
}

absl::Status JobStore::Sync() {
  sqlite3_file* log = nullptr;
  sqlite3_file_control(db_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (log == nullptr || log->pMethods == nullptr) return absl::OkStatus();  // nothing written
  if (log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) == SQLITE_OK) return absl::OkStatus();
  return Error(Reason::kStorageIoError, "the job store's log cannot be synced");
}

absl::StatusOr<std::vector<std::string>> JobStore::Events(const std::string& id, int64_t from_seq,
                                                          int max) {
  SqliteStatement statement(db_,
                            "SELECT event FROM events WHERE job=? AND seq>=? ORDER BY seq LIMIT ?");
  statement.Text(id).Integer(from_seq).Integer(max);
  std::vector<std::string> events;
  while (true) {
    LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("reading events"));
    if (!row) return events;
    events.push_back(statement.Bytes());
  }
}

absl::StatusOr<JobRecord> JobStore::Find(const std::string& id) {
  SqliteStatement statement(db_, std::string(kColumns) + "WHERE id=?");
  statement.Text(id);
  LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("reading a job"));
  if (!row) return NotFound(Reason::kJobNotFound, "job", id);
  return ReadRecord(statement);
}

absl::StatusOr<std::optional<JobRecord>> JobStore::FindByRequest(const std::string& principal,
                                                                 const std::string& request_id) {
  if (request_id.empty()) return std::nullopt;
  SqliteStatement statement(
      db_, std::string(kColumns) + "WHERE principal=? AND request_id=? AND request_id<>''");
  statement.Text(principal).Text(request_id);
  LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("reading a job"));
  if (!row) return std::nullopt;
  LFM2_ASSIGN_OR_RETURN(JobRecord record, ReadRecord(statement));
  return std::optional<JobRecord>(std::move(record));
}

absl::StatusOr<std::vector<Job>> JobStore::List(std::optional<JobState> state, int limit,
                                                const std::string& before) {
  const std::string wanted = state ? std::to_string(static_cast<int>(*state)) : "state";
  SqliteStatement statement(db_, std::string(kColumns) + "WHERE state=" + wanted +
                                     " AND (?1='' OR id<?1) ORDER BY id DESC LIMIT ?2");
  statement.Text(before).Integer(limit);
  std::vector<Job> jobs;
  while (true) {
    LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("listing jobs"));
    if (!row) return jobs;
    LFM2_ASSIGN_OR_RETURN(JobRecord record, ReadRecord(statement));
    jobs.push_back(std::move(record.job));
  }
}

absl::StatusOr<int64_t> JobStore::Count(JobState state) {
  const std::string sql =
      "SELECT count(*) FROM jobs WHERE state=" + std::to_string(static_cast<int>(state));
  return Number(sql.c_str());
}

absl::StatusOr<std::vector<std::string>> JobStore::Ids(const char* sql, int64_t first,
                                                       int64_t second) {
  SqliteStatement statement(db_, sql);
  statement.Integer(first).Integer(second);
  std::vector<std::string> ids;
  while (true) {
    LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("listing jobs"));
    if (!row) return ids;
    ids.push_back(statement.Bytes());
  }
}

absl::StatusOr<std::vector<std::string>> JobStore::Queued(JobKind kind, int limit) {
  return Ids("SELECT id FROM jobs WHERE state=0 AND kind=? ORDER BY id LIMIT ?",
             static_cast<int64_t>(kind), limit);
}

absl::StatusOr<std::vector<std::string>> JobStore::Unfinished() {
  return Ids("SELECT id FROM jobs WHERE state IN (?, ?) ORDER BY id",
             static_cast<int64_t>(JobState::kQueued), static_cast<int64_t>(JobState::kRunning));
}

absl::StatusOr<std::optional<JobState>> JobStore::StateOf(const std::string& id) {
  SqliteStatement statement(db_, "SELECT state FROM jobs WHERE id=?");
  statement.Text(id);
  LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("reading a job"));
  if (!row) return std::nullopt;
  return static_cast<JobState>(statement.Integer());
}

absl::StatusOr<std::string> JobStore::NewestId() {
  SqliteStatement statement(db_, "SELECT id FROM jobs ORDER BY id DESC LIMIT 1");
  LFM2_ASSIGN_OR_RETURN(const bool row, statement.Step("reading a job"));
  return row ? statement.Bytes() : std::string();
}

}  // namespace lfm2
