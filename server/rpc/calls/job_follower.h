// A stream of one job's numbered events: first the existing ones, then new ones, each exactly once.
// Events are read on the executor in batches, and only while the client keeps up. Thread rule: as
// EventStream; OnJobEvent, OnJobOver and MakeNext run on the executor, one at a time.
#pragma once

#include <memory>
#include <string>

#include "server/jobs/queue/job_queue.h"
#include "server/rpc/transport/event_stream.h"

namespace lfm2 {

class JobFollower : public EventStream {
 public:
  using EventStream::EventStream;

 protected:
  void Follow(JobQueue& jobs, const std::string& id, int64_t from_seq) LFM2_EXCLUDES(mutex_);
  // Called once for every event, in order.
  virtual void OnJobEvent(const JobEvent& event) = 0;
  // Called when the job has ended, after its last event. `job` is its final state.
  virtual void OnJobOver(const Job& job) = 0;
  // Called after OnJobOver whenever the buffer has room: pushes the next event. False when there
  // are no more events.
  virtual bool MakeNext() { return false; }

  void OnRoom() override { Schedule(); }
  void OnClosed() override LFM2_EXCLUDES(mutex_);

 private:
  void Schedule() LFM2_EXCLUDES(mutex_);
  void Read() LFM2_EXCLUDES(mutex_);
  // False when there is nothing to do until the next change.
  bool ReadBatch();
  bool Rest() LFM2_EXCLUDES(mutex_);

  JobQueue* jobs_ = nullptr;  // these three are set once in Follow, before the first Schedule
  std::string id_;
  int64_t next_seq_ = 1;
  bool over_ = false;  // used only by the reading task

  Mutex mutex_;
  bool reading_ LFM2_GUARDED_BY(mutex_) = false;    // a task is reading or about to read
  bool again_ LFM2_GUARDED_BY(mutex_) = false;      // something changed since it began
  bool following_ LFM2_GUARDED_BY(mutex_) = false;  // Follow was called, so the job is known
  bool closed_ LFM2_GUARDED_BY(mutex_) = false;
  std::unique_ptr<JobQueue::Subscription> subscription_ LFM2_GUARDED_BY(mutex_);
};

// Why an ended job did not succeed; OK when it did.
absl::Status OutcomeOf(const Job& job);

}  // namespace lfm2
