// Decides whether and when a job whose worker died is tried again. Thread rule: pure.
#pragma once

#include <chrono>

#include "server/jobs/queue/job_store.h"

namespace lfm2 {

struct RetryPolicy {
  std::chrono::milliseconds base{
      1'000};  // wait before the second attempt; doubles with each crash in a row
  int crashes_to_quarantine = 3;  // without progress
};

inline constexpr std::chrono::milliseconds kMaxRetryDelay{60'000};

// Counts one more crash in the record; the count restarts if the job has progressed since its last
// crash.
void CountCrash(JobRecord& record);
bool IsCrashLoop(const RetryPolicy& policy, const JobRecord& record);
std::chrono::milliseconds RetryDelay(const RetryPolicy& policy, const JobRecord& record);
// The delay after this number of consecutive failures: `base`, doubled with each, at most
// kMaxRetryDelay.
std::chrono::milliseconds RetryDelay(std::chrono::milliseconds base, int64_t failures);

}  // namespace lfm2
