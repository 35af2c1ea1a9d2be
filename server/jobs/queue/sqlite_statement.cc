#include "server/jobs/queue/sqlite_statement.h"

#include <sqlite3.h>

#include "base/disk_full.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

// SQLite treats only ENOSPC as a full disk; an exceeded quota is an I/O error for it.
bool FileIsFull(sqlite3* db, int which) {
  sqlite3_file* file = nullptr;
  int code = 0;
  return sqlite3_file_control(db, "main", which, &file) == SQLITE_OK && file != nullptr &&
         file->pMethods != nullptr &&
         file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &code) == SQLITE_OK &&
         MeansDiskFull(code);
}

bool DiskIsFull(sqlite3* db) {
  return FileIsFull(db, SQLITE_FCNTL_JOURNAL_POINTER) || FileIsFull(db, SQLITE_FCNTL_FILE_POINTER);
}

}  // namespace

absl::Status SqliteStatus(sqlite3* db, std::string_view action) {
  const int code = sqlite3_errcode(db) & 0xff;
  const std::string message =
      "the job store, " + std::string(action) + ": " + std::string(sqlite3_errmsg(db));
  switch (code) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Reason::kJobStoreCorrupt, message);
    case SQLITE_FULL:
      return Error(Reason::kDiskFull, message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(Reason::kWrongState, message + " (another process has it open)");
    case SQLITE_NOMEM:
      return Error(Reason::kOutOfMemory, message);
    case SQLITE_IOERR:
      if (DiskIsFull(db)) return Error(Reason::kDiskFull, message);
      [[fallthrough]];
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Error(Reason::kStorageIoError, message);
    default:
      return Error(Reason::kInternal, message);
  }
}

SqliteStatement::SqliteStatement(sqlite3* db, const std::string& sql) : db_(db) {
  prepared_ = sqlite3_prepare_v2(db, sql.c_str(), static_cast<int>(sql.size()), &statement_,
                                 nullptr) == SQLITE_OK;
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

SqliteStatement& SqliteStatement::Integer(int64_t value) {
  if (prepared_) sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

SqliteStatement& SqliteStatement::Real(double value) {
  if (prepared_) sqlite3_bind_double(statement_, ++bound_, value);
  return *this;
}

SqliteStatement& SqliteStatement::Text(const std::string& value) {
  if (prepared_) {
    sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()),
                      SQLITE_TRANSIENT);
  }
  return *this;
}

SqliteStatement& SqliteStatement::Blob(const std::string& value) {
  if (prepared_) {
    sqlite3_bind_blob(statement_, ++bound_, value.data(), static_cast<int>(value.size()),
                      SQLITE_TRANSIENT);
  }
  return *this;
}

absl::StatusOr<bool> SqliteStatement::Step(std::string_view action) {
  if (!prepared_) return SqliteStatus(db_, action);
  read_ = 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return SqliteStatus(db_, action);
}

int64_t SqliteStatement::Integer() { return sqlite3_column_int64(statement_, read_++); }

double SqliteStatement::Real() { return sqlite3_column_double(statement_, read_++); }

std::string SqliteStatement::Bytes() {
  const void* data = sqlite3_column_blob(statement_, read_);
  const int size = sqlite3_column_bytes(statement_, read_++);
  return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

void SqliteStatement::Reset() {
  sqlite3_reset(statement_);
  bound_ = 0;
}

}  // namespace lfm2
