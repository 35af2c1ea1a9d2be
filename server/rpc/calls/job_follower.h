// A stream fed by the numbered events of one job: those already there, then those to come, none
// twice and none missed. Events are read on the executor in batches, and only while the reader
// keeps up. Thread rule: as EventStream; OnJobEvent, OnJobOver and MakeNext run on the executor,
// one at a time.
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
  // Every event once, in order.
  virtual void OnJobEvent(const JobEvent& event) = 0;
  // The job has ended and its last event was given. `job` is as it ended.
  virtual void OnJobOver(const Job& job) = 0;
  // After OnJobOver, whenever there is room: makes the next event. False: there is none.
  virtual bool MakeNext() { return false; }

  void OnRoom() override { Schedule(); }
  void OnClosed() override LFM2_EXCLUDES(mutex_);

 private:
  void Schedule() LFM2_EXCLUDES(mutex_);
  void Read() LFM2_EXCLUDES(mutex_);
  // False when there is nothing to do until the next change.
  bool ReadBatch();
  bool Rest() LFM2_EXCLUDES(mutex_);

  JobQueue* jobs_ = nullptr;  // these three: set once in Follow, before the first Schedule
  std::string id_;
  int64_t next_seq_ = 1;
  bool over_ = false;  // of the reading task

  Mutex mutex_;
  bool reading_ LFM2_GUARDED_BY(mutex_) = false;    // a task reads or is about to
  bool again_ LFM2_GUARDED_BY(mutex_) = false;      // something changed since it began
  bool following_ LFM2_GUARDED_BY(mutex_) = false;  // Follow was called: there is a job to read
  bool closed_ LFM2_GUARDED_BY(mutex_) = false;
  std::unique_ptr<JobQueue::Subscription> subscription_ LFM2_GUARDED_BY(mutex_);
};

// Why a job that is over did not succeed; OK when it did.
absl::Status OutcomeOf(const Job& job);

}  // namespace lfm2
