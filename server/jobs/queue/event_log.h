// The numbered events of one job: an append-only file of frames, little-endian u32 length, u32
// CRC-32 of the payload, the payload (EncodeJobEvent). The n-th frame is event n. An event is in
// the kernel when Append returns, so it survives kill -9 of the daemon; Sync makes it survive a
// power cut.
//
// Opening cuts a torn tail. When that loses events that the job store knows of (a damaged disk),
// their numbers are filled with notes that say so: a number never names two events. Thread rule:
// any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "server/jobs/wire/job.h"

namespace lfm2 {

class EventLog {
 public:
  // Made when absent. `known_seq`: events that the job store says are there. kDiskFull,
  // kStorageIoError.
  static absl::StatusOr<std::shared_ptr<EventLog>> Open(const std::filesystem::path& path,
                                                        int64_t known_seq);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  // The event's number. A failed append leaves nothing.
  absl::StatusOr<int64_t> Append(int64_t at_ms, const JobEventBody& body) LFM2_EXCLUDES(mutex_);
  absl::Status Sync();
  // Up to `max` events from a number on.
  absl::StatusOr<std::vector<JobEvent>> Read(int64_t from_seq, int max) const LFM2_EXCLUDES(mutex_);
  int64_t last_seq() const LFM2_EXCLUDES(mutex_);

 private:
  EventLog(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
  absl::Status Recover(int64_t known_seq) LFM2_EXCLUDES(mutex_);
  void Count(int64_t frame_bytes) LFM2_REQUIRES(mutex_);

  const int fd_;
  const std::string name_;
  mutable Mutex mutex_;
  int64_t size_ LFM2_GUARDED_BY(mutex_) = 0;
  int64_t last_seq_ LFM2_GUARDED_BY(mutex_) = 0;
  std::vector<int64_t> index_ LFM2_GUARDED_BY(mutex_);  // offset of events 1, 1 + kStride, …
};

// Logs by job: one object per file however many ask, and a bounded number of open files. Thread
// rule: one thread at a time.
class EventLogCache {
 public:
  EventLogCache(std::filesystem::path jobs_dir, size_t capacity)
      : jobs_dir_(std::move(jobs_dir)), capacity_(capacity) {}
  absl::StatusOr<std::shared_ptr<EventLog>> Get(const std::string& job_id, int64_t known_seq);
  void Forget(const std::string& job_id);

 private:
  const std::filesystem::path jobs_dir_;
  const size_t capacity_;
  std::map<std::string, std::weak_ptr<EventLog>> known_;
  std::list<std::pair<std::string, std::shared_ptr<EventLog>>> recent_;  // newest first
};

}  // namespace lfm2
