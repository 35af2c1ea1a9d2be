#include "server/jobs/wire/job.h"

namespace lfm2 {

bool IsTerminal(JobState state) {
  return state != JobState::kQueued && state != JobState::kRunning;
}

const char* JobStateName(JobState state) {
  switch (state) {
    case JobState::kQueued:
      return "QUEUED";
    case JobState::kRunning:
      return "RUNNING";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
    case JobState::kQuarantined:
      return "QUARANTINED";
  }
  return "UNKNOWN";
}

const char* JobKindName(JobKind kind) {
  switch (kind) {
    case JobKind::kTrain:
      return "train";
    case JobKind::kInit:
      return "init";
    case JobKind::kExport:
      return "export";
  }
  return "unknown";
}

}  // namespace lfm2
