#include "server/jobs/retry_policy.h"

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
  std::chrono::milliseconds delay = std::min(policy.base, kMaxRetryDelay);
  for (int64_t crash = 1; crash < record.crashes && delay < kMaxRetryDelay; ++crash) delay *= 2;
  return std::min(delay, kMaxRetryDelay);
}

}  // namespace lfm2
