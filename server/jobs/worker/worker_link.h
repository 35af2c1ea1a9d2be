// The worker's end of the socket pair: receives the order, reports events, keeps the lease. A
// separate thread sends heartbeats and receives stop requests, so a long step does not lose the
// lease or delay a stop.
//
// Publishing is allowed while the newest answered heartbeat was sent less than a lease ago. A
// process that was stopped or starved for longer cannot publish until the daemon answers again. If
// the daemon is gone, `on_lost` is called.
//
// Thread rule: any thread.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "model/train/spec/train_spec.h"
#include "server/jobs/wire/frame.h"
#include "server/jobs/wire/worker_message.h"

namespace lfm2 {

struct WorkerLinkOptions {
  std::function<void()> on_lost;  // must not continue the job
  // set by a signal handler; counts as a stop request
  const std::atomic<bool>* stop_signal = nullptr;
  Clock* clock = &Clock::Real();
};

class WorkerLink : public TrainReporter {
 public:
  // Waits for the order and takes ownership of the socket. kInternal if the daemon closes the link
  // or sends another message first.
  static absl::StatusOr<std::unique_ptr<WorkerLink>> Connect(int socket, WorkerLinkOptions options);
  ~WorkerLink() override;

  const Order& order() const { return order_; }

  void Report(const JobEventBody& body);
  void OnStep(const StepMetrics& metrics) override { Report(metrics); }
  void OnEval(const EvalMetrics& metrics) override { Report(metrics); }
  void OnCheckpoint(const CheckpointInfo& checkpoint) override { Report(checkpoint); }
  void OnNote(const std::string& text) override { Report(Note{text}); }
  bool StopRequested() override;
  bool MayPublish() override LFM2_EXCLUDES(lease_mutex_);

  void Finish(const WorkerResult& result);  // the last message

 private:
  WorkerLink(int socket, int wake, WorkerLinkOptions options);
  absl::Status ReceiveOrder();
  void Send(const FromWorker& message) LFM2_EXCLUDES(send_mutex_);
  void Beat() LFM2_EXCLUDES(lease_mutex_);
  bool Hear();  // false: the daemon is gone
  void Handle(const ToWorker& message) LFM2_EXCLUDES(lease_mutex_);
  void Run();

  const int socket_;
  const int wake_;  // eventfd: ends the thread
  const WorkerLinkOptions options_;
  Order order_;
  FrameBuffer received_;
  std::atomic<bool> stop_{false};

  Mutex send_mutex_;

  Mutex lease_mutex_;
  std::deque<SteadyTime> unanswered_ LFM2_GUARDED_BY(lease_mutex_);
  SteadyTime leased_at_ LFM2_GUARDED_BY(lease_mutex_);

  std::thread thread_;
};

}  // namespace lfm2
