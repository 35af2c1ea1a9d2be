// One SQL statement of the job store. Thread rule: one thread at a time, as for its connection.
// Must be destroyed before the connection.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace lfm2 {

// Converts the connection's last error to a Status: kJobStoreCorrupt, kDiskFull, kWrongState (open
// elsewhere), kOutOfMemory, kStorageIoError, else kInternal.
absl::Status SqliteStatus(sqlite3* db, std::string_view action);

// Values are bound and read in the order of their columns. If a statement cannot be prepared, Step
// returns the error.
class SqliteStatement {
 public:
  SqliteStatement(sqlite3* db, const std::string& sql);
  ~SqliteStatement();
  SqliteStatement(const SqliteStatement&) = delete;
  SqliteStatement& operator=(const SqliteStatement&) = delete;

  SqliteStatement& Integer(int64_t value);
  SqliteStatement& Real(double value);
  SqliteStatement& Text(const std::string& value);
  SqliteStatement& Blob(const std::string& value);

  // True if there is a row to read. `action` is used in the error message.
  absl::StatusOr<bool> Step(std::string_view action);
  int64_t Integer();
  double Real();
  std::string Bytes();

  void Reset();  // to run it again, with new values

 private:
  sqlite3* const db_;
  sqlite3_stmt* statement_ = nullptr;
  bool prepared_ = false;
  int bound_ = 0, read_ = 0;
};

}  // namespace lfm2
