#include "server/jobs/queue/retry_policy.h"

#include <algorithm>

namespace lfm2 {

void CountCrash(JobRecord& record) {
  if (record.high_step > record.crash_step) record.crashes = 0;
  ++record.crashes;
  record.crash_step = record.high_step;
}

bool IsCrashLoop(const RetryPolicy& policy, const JobRecord& record) {
  return record.crashes >= policy.crashes_to_quarantine;
}

std::chrono::milliseconds RetryDelay(const RetryPolicy& policy, const JobRecord& record) {
  return RetryDelay(policy.base, record.crashes);
}

std::chrono::milliseconds RetryDelay(std::chrono::milliseconds base, int64_t failures) {
  std::chrono::milliseconds delay = std::min(base, kMaxRetryDelay);
  for (int64_t failure = 1; failure < failures && delay < kMaxRetryDelay; ++failure) delay *= 2;
  return std::min(delay, kMaxRetryDelay);
}

}  // namespace lfm2
