// A job queue in memory: a test is the worker and says what happens to each job. Thread rule: any
// thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/mutex.h"
#include "server/jobs/queue/job_queue.h"

namespace lfm2 {

class FakeJobQueue : public JobQueue {
 public:
  absl::StatusOr<Job> Submit(const std::string& principal, const std::string& request_id,
                             const JobSpec& spec) override {
    std::string id;
    {
      MutexLock lock(mutex_);
      for (const auto& [known, entry] : jobs_) {
        if (!request_id.empty() && entry.job.request_id == request_id &&
            entry.job.principal == principal) {
          if (entry.job.spec.model_name == spec.model_name) return entry.job;
          return Error(Reason::kRequestIdReused, "used for another job");
        }
      }
      id = "job-" + std::to_string(jobs_.size() + 1);
      Job& job = jobs_[id].job;
      job.id = id;
      job.principal = principal;
      job.request_id = request_id;
      job.spec = spec;
    }
    Append(id, StateChange{});
    if (on_submit) on_submit(id);
    return Get(id);
  }
  absl::StatusOr<Job> Get(const std::string& id) override {
    MutexLock lock(mutex_);
    const auto it = jobs_.find(id);
    if (it == jobs_.end()) return NotFound(Reason::kJobNotFound, "job", id);
    return it->second.job;
  }
  absl::StatusOr<JobPage> List(std::optional<JobState> state, int page_size,
                               const std::string& page_token) override {
    MutexLock lock(mutex_);
    JobPage page;
    bool on = page_token.empty();
    for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) {
      if (on && (!state || it->second.job.state == *state)) {
        if (static_cast<int>(page.jobs.size()) == page_size) {
          page.next_page_token = page.jobs.back().id;
          break;
        }
        page.jobs.push_back(it->second.job);
      }
      if (it->first == page_token) on = true;
    }
    return page;
  }
  absl::StatusOr<Job> Cancel(const std::string& id) override {
    absl::StatusOr<Job> job = Get(id);
    if (!job.ok()) return job;
    if (IsTerminal(job->state)) return Error(Reason::kWrongState, "the job has ended");
    StateChange change;
    change.state = JobState::kCancelled;
    Append(id, change);
    return Get(id);
  }
  absl::StatusOr<std::vector<JobEvent>> ReadEvents(const std::string& id, int64_t from_seq,
                                                   int max) override {
    std::vector<JobEvent> out;
    {
      MutexLock lock(mutex_);
      const auto it = jobs_.find(id);
      if (it == jobs_.end()) return NotFound(Reason::kJobNotFound, "job", id);
      for (const JobEvent& event : it->second.events) {
        if (event.seq >= from_seq && static_cast<int>(out.size()) < max) out.push_back(event);
      }
    }
    if (out.empty() && after_empty_read) std::exchange(after_empty_read, nullptr)(id);
    return out;
  }
  std::unique_ptr<Subscription> Subscribe(const std::string& id,
                                          std::function<void()> on_change) override {
    auto listener = std::make_shared<Listener>();
    listener->on_change = std::move(on_change);
    MutexLock lock(mutex_);
    jobs_[id].listeners.push_back(listener);
    return std::make_unique<Handle>(listener);
  }
  absl::StatusOr<std::filesystem::path> ExportDirectory(const std::string&) override {
    MutexLock lock(mutex_);
    ++exports_held;
    return export_directory;
  }
  void ReleaseExport(const std::string&) override {
    MutexLock lock(mutex_);
    --exports_held;
  }
  absl::Status worker_status() override {
    MutexLock lock(mutex_);
    return workers_;
  }
  void Shutdown(std::chrono::milliseconds) override {}

  // What the worker does.
  void Append(const std::string& id, JobEventBody body) {
    std::vector<std::shared_ptr<Listener>> listeners;
    {
      MutexLock lock(mutex_);
      Entry& entry = jobs_[id];
      if (const auto* change = std::get_if<StateChange>(&body)) {
        entry.job.state = change->state;
        entry.job.error = change->status;
        entry.job.result_version = change->result_version;
      }
      JobEvent event;
      event.seq = ++entry.job.last_seq;
      event.body = std::move(body);
      entry.events.push_back(std::move(event));
      listeners = entry.listeners;
    }
    for (const auto& listener : listeners) listener->Call();
  }
  void SetFiles(const std::string& id, std::vector<ExportedFile> files) {
    MutexLock lock(mutex_);
    jobs_[id].job.files = std::move(files);
  }
  void SetWorkers(absl::Status status) {
    MutexLock lock(mutex_);
    workers_ = std::move(status);
  }
  int64_t held() {
    MutexLock lock(mutex_);
    return exports_held;
  }

  std::function<void(const std::string& id)> on_submit;  // set before the server starts
  std::function<void(const std::string& id)>
      after_empty_read;  // once; set before the server starts
  std::filesystem::path export_directory;

 private:
  struct Listener {
    Mutex mutex;  // held while it is called: the handle's destructor waits
    std::function<void()> on_change;
    void Call() {
      MutexLock lock(mutex);
      if (on_change) on_change();
    }
  };
  class Handle : public Subscription {
   public:
    explicit Handle(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}
    ~Handle() override {
      MutexLock lock(listener_->mutex);
      listener_->on_change = nullptr;
    }

   private:
    std::shared_ptr<Listener> listener_;
  };
  struct Entry {
    Job job;
    std::vector<JobEvent> events;
    std::vector<std::shared_ptr<Listener>> listeners;
  };
  Mutex mutex_;
  std::map<std::string, Entry> jobs_;
  absl::Status workers_;
  int64_t exports_held = 0;
};

inline StateChange Ended(JobState state, absl::Status status = absl::OkStatus(),
                         std::string version = "") {
  StateChange change;
  change.state = state;
  change.status = std::move(status);
  change.result_version = std::move(version);
  return change;
}

}  // namespace lfm2
