#include "server/rpc/calls/watch_call.h"

#include <limits>

#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_training.h"

namespace lfm2 {

void WatchCall::Start(const v1::WatchJobRequest& request) {
  const absl::StatusOr<JobQueue*> jobs = JobsOf(call().services());
  if (!jobs.ok()) return End(jobs.status());
  RequestCheck check;
  const int64_t from = request.has_from_seq() ? request.from_seq() : 1;
  check.Range("from_seq", from, 1, std::numeric_limits<int64_t>::max() - 1);
  if (request.id().empty()) check.Add("id", "is empty");
  if (!check.ok()) return End(check.ToStatus());
  if (const absl::StatusOr<Job> job = (*jobs)->Get(request.id()); !job.ok()) {
    return End(job.status());
  }
  Follow(**jobs, request.id(), from);
}

void WatchCall::OnJobEvent(const JobEvent& event) { Push(ToProto(event)); }

void WatchCall::OnJobOver(const Job&) { End(absl::OkStatus()); }

}  // namespace lfm2
