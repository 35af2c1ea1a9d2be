// Whether a job whose worker died is tried again, and when. Thread rule: pure.
#pragma once

#include <chrono>

#include "server/jobs/queue/job_store.h"

namespace lfm2 {

struct RetryPolicy {
  std::chrono::milliseconds base{
      1'000};  // wait before the second attempt; doubles with each crash in a row
  int crashes_to_quarantine = 3;  // without getting further than before
};

inline constexpr std::chrono::milliseconds kMaxRetryDelay{60'000};

// Counts one more crash in the record; a job that got further than at its last crash starts
// counting anew.
void CountCrash(JobRecord& record);
bool IsCrashLoop(const RetryPolicy& policy, const JobRecord& record);
std::chrono::milliseconds RetryDelay(const RetryPolicy& policy, const JobRecord& record);
// After so many failures in a row: `base`, doubled with each, at most kMaxRetryDelay.
std::chrono::milliseconds RetryDelay(std::chrono::milliseconds base, int64_t failures);

}  // namespace lfm2
