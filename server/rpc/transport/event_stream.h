// A server stream of events with a bounded buffer (limits.stream_buffer_events): one write is in
// flight, the next events wait in order. A producer that can wait makes no events while the buffer
// is full. The stream ends with kSlowReader when the buffer stays full for
// limits.full_buffer_timeout_ms, when one write takes limits.slow_reader_timeout_ms, or when the
// buffer is full and its producer cannot wait.
//
// Every reaction and every producer records what happened under the lock and calls Pump(), which
// decides under the lock and makes one gRPC call after releasing it. Finish is never called while a
// write is in flight; it is also called after a cancel. Ownership: the object holds itself until
// OnDone, and producers share it. Thread rule: any thread; no hook is called with a lock held.
#pragma once

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "base/errors.h"
#include "base/mutex.h"
#include "server/rpc/transport/rpc_call.h"

namespace lfm2 {

class EventStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                    public std::enable_shared_from_this<EventStream> {
 public:
  EventStream(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
              std::string_view method, CountsAs counts_as = CountsAs::kNothing)
      : call_(std::move(core), context, method, counts_as) {}

  // Makes the object hold itself until OnDone. Call once, before anything else.
  void Open();

  // False when the event was not accepted: the stream has ended, or ends now because the buffer is
  // full.
  bool Push(const google::protobuf::MessageLite& event) LFM2_EXCLUDES(mutex_);
  // Accepts no more events; sends the buffered ones, then the status.
  void End(const absl::Status& status) LFM2_EXCLUDES(mutex_);
  // The same with one last event, which may exceed the buffer's limit.
  void EndWith(const google::protobuf::MessageLite& event) LFM2_EXCLUDES(mutex_);
  // Ends at once; drops the buffered events.
  void Cut(const absl::Status& status) LFM2_EXCLUDES(mutex_);
  // Buffers all events until Release, because the call may still be refused.
  void Hold() LFM2_EXCLUDES(mutex_);
  void Release() LFM2_EXCLUDES(mutex_);

  // The client no longer reads, or the stream was cut: producers may stop.
  bool stopped() const { return stopped_; }
  // OK, or the status with which the stream was cut.
  absl::Status WhyStopped() const LFM2_EXCLUDES(mutex_);
  bool HasBacklog() LFM2_EXCLUDES(mutex_);
  // Whether the buffer can take all events that one step of a sequence may produce.
  bool HasRoom() LFM2_EXCLUDES(mutex_);
  // Ends the stream when its write has taken, or its buffer has been full, for too long. The server
  // calls it periodically.
  void EndIfStuck(SteadyTime now) LFM2_EXCLUDES(mutex_);
  // Whether a client can resume the stream where it ended: such streams do not delay a shutdown.
  virtual bool resumable() const { return false; }

  RpcCall& call() { return call_; }
  // Runs `work` on the executor with this object kept alive; a failure ends the stream.
  void OnWorker(std::function<void()> work);
  // How work that waited elsewhere goes on: on the executor, with this object kept alive meanwhile.
  std::function<void(std::function<void()>)> Resume() {
    return [self = shared_from_this()](std::function<void()> work) {
      self->OnWorker(std::move(work));
    };
  }

  void OnWriteDone(bool ok) final LFM2_EXCLUDES(mutex_);
  void OnCancel() final LFM2_EXCLUDES(mutex_);
  void OnDone() final;

 protected:
  // Called when the buffer is empty and the last write has ended: a producer that can wait makes
  // the next event now.
  virtual void OnRoom() {}
  // Called once when the stream is cut, whatever the reason.
  virtual void OnStopped() {}
  // The reason to report when the client's deadline ends the stream.
  virtual Reason LateReason() const { return Reason::kDeadlineInDecode; }
  // Called before the object releases its own reference.
  virtual void OnClosed() {}

 private:
  enum class Action { kNone, kWrite, kFinish, kSever };
  Action Decide() LFM2_REQUIRES(mutex_);
  void CutLocked(const absl::Status& status) LFM2_REQUIRES(mutex_);
  void Pump() LFM2_EXCLUDES(mutex_);
  void TellStopped();
  absl::Status SlowReader(std::string_view what) const;
  size_t buffer_limit() const {
    return static_cast<size_t>(call_.services().limits.stream_buffer_events);
  }
  absl::Status GivenUp(std::string_view how) const;

  RpcCall call_;
  std::shared_ptr<EventStream> self_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> told_stopped_{false};

  mutable Mutex mutex_;
  std::deque<grpc::ByteBuffer> buffer_ LFM2_GUARDED_BY(mutex_);
  grpc::ByteBuffer writing_;  // used by the library between StartWrite and OnWriteDone
  bool write_in_flight_ LFM2_GUARDED_BY(mutex_) = false;
  SteadyTime write_started_ LFM2_GUARDED_BY(mutex_);
  // When the buffer became full; nullopt again once it is half empty.
  std::optional<SteadyTime> full_since_ LFM2_GUARDED_BY(mutex_);
  bool held_ LFM2_GUARDED_BY(mutex_) = false;
  bool ended_ LFM2_GUARDED_BY(mutex_) = false;     // accepts no more events
  bool cut_ LFM2_GUARDED_BY(mutex_) = false;       // and writes no more events
  bool finished_ LFM2_GUARDED_BY(mutex_) = false;  // Finish has been called
  bool sever_ LFM2_GUARDED_BY(mutex_) = false;     // end without waiting for the write in flight
  // Sever is running: no Finish before it has returned
  bool severing_ LFM2_GUARDED_BY(mutex_) = false;
  absl::Status status_ LFM2_GUARDED_BY(mutex_);
};

// Opens a call of class `Call`. Its Start(Request) runs on the executor after admission and
// parsing.
template <typename Call, typename Request>
grpc::ServerWriteReactor<grpc::ByteBuffer>* OpenStream(std::shared_ptr<ServiceCore> core,
                                                       grpc::CallbackServerContext* context,
                                                       std::string_view method,
                                                       const grpc::ByteBuffer& bytes) {
  auto stream = std::make_shared<Call>(std::move(core), context, method);
  stream->Open();
  const absl::Status caught = Caught(stream->call().request_id(), [&] {
    absl::StatusOr<Request> request = stream->call().template Receive<Request>(bytes);
    if (!request.ok()) return stream->End(request.status());
    stream->OnWorker([call = stream.get(), shared = std::make_shared<Request>(
                                               *std::move(request))] { call->Start(*shared); });
  });
  if (!caught.ok()) stream->End(caught);
  return stream.get();
}

}  // namespace lfm2
