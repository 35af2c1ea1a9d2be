#include "server/rpc/calls/job_follower.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr int64_t kBatch = 64;
constexpr int kTurn = 16;  // batches, or parts of a file

}  // namespace

absl::Status OutcomeOf(const Job& job) {
  switch (job.state) {
    case JobState::kSucceeded:
      return absl::OkStatus();
    case JobState::kCancelled:
      return Error(Reason::kCancelled, "the job was cancelled", {{"job", job.id}});
    default:
      if (!job.error.ok()) return Annotate(job.error, "job " + job.id);
      return Error(Reason::kInternal, "job " + job.id + " ended without a reason");
  }
}

void JobFollower::Follow(JobQueue& jobs, const std::string& id, int64_t from_seq) {
  jobs_ = &jobs;
  id_ = id;
  next_seq_ = from_seq;
  // Subscribes before the first read, so that no event is missed in between.
  auto subscription = jobs.Subscribe(id, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) static_cast<JobFollower&>(*self).Schedule();
  });
  {
    MutexLock lock(mutex_);
    if (!closed_) subscription_ = std::move(subscription);
    following_ = true;
  }
  Schedule();
}

void JobFollower::OnClosed() {
  std::unique_ptr<JobQueue::Subscription> subscription;  // destroyed without the lock: may wait
  {
    MutexLock lock(mutex_);
    closed_ = true;
    subscription = std::move(subscription_);
  }
}

void JobFollower::Schedule() {
  {
    MutexLock lock(mutex_);
    if (closed_ || !following_) return;
    if (reading_) {
      again_ = true;
      return;
    }
    reading_ = true;
  }
  OnWorker([this] { Read(); });
}

void JobFollower::Read() {
  for (int i = 0; i < kTurn; ++i) {
    if (stopped()) return;
    const bool busy = !HasBacklog() && (over_ ? MakeNext() : ReadBatch());
    if (!busy && Rest()) return;
  }
  OnWorker([this] { Read(); });  // gives up the thread even when the reader keeps up
}

bool JobFollower::Rest() {
  MutexLock lock(mutex_);
  if (std::exchange(again_, false)) return false;
  reading_ = false;
  return true;
}

bool JobFollower::ReadBatch() {
  // The buffer is empty now and must be able to hold the whole batch.
  const int batch =
      static_cast<int>(std::min(kBatch, call().services().limits.stream_buffer_events));
  const absl::StatusOr<std::vector<JobEvent>> events = jobs_->ReadEvents(id_, next_seq_, batch);
  if (!events.ok()) {
    End(events.status());
    over_ = true;
    return true;
  }
  for (const JobEvent& event : *events) {
    next_seq_ = event.seq + 1;
    OnJobEvent(event);
  }
  const auto* last = events->empty() ? nullptr : std::get_if<StateChange>(&events->back().body);
  if (!events->empty() && (last == nullptr || !IsTerminal(last->state))) return true;
  const absl::StatusOr<Job> job = jobs_->Get(id_);
  if (!job.ok()) {
    End(job.status());
    over_ = true;
    return true;
  }
  if (!IsTerminal(job->state) || next_seq_ <= job->last_seq) return !events->empty();
  over_ = true;
  OnJobOver(*job);
  return true;
}

}  // namespace lfm2
