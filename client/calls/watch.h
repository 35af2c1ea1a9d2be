// WatchJob that continues after a restart of the daemon: each event is given exactly once. Thread
// rule: one thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/calls/session.h"

namespace lfm2 {

enum class Lost { kFailAtOnce, kReconnect };  // when the first call cannot reach the server

struct WatchOptions {
  std::string job;
  int64_t from_seq = 1;
  Lost first_call = Lost::kFailAtOnce;
  // Delays between attempts without progress: they double from the first to the longest. After the
  // last attempt the error is returned.
  int64_t first_backoff_ms = 100;
  int64_t longest_backoff_ms = 5'000;
  int attempts = 30;
};

// Calls `on_event` for each event from `from_seq` on until the job has ended. Reconnects on
// UNAVAILABLE.
absl::Status WatchJob(Session& session, const WatchOptions& options,
                      const std::function<absl::Status(const v1::JobEvent&)>& on_event);

absl::StatusOr<v1::Job> GetJob(Session& session, const std::string& id);
bool HasEnded(v1::JobState state);

// One object: seq, at_ms, type ("state", "metrics", "eval", "checkpoint", "note", "progress",
// "report") and its fields.
Json EventToJson(const v1::JobEvent& event);

}  // namespace lfm2
