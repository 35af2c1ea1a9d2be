// A server stream of events with a bounded buffer: one write in flight, the next ones wait in
// order. A producer that can wait makes no more while the buffer is full
// (limits.stream_buffer_events). A reader that leaves it full for limits.full_buffer_timeout_ms, or
// one write standing for limits.slow_reader_timeout_ms, is ended with kSlowReader, and so is one
// whose producer cannot wait.
//
// Every reaction and every producer notes what happened under the lock and calls Pump(), which
// decides under the lock and makes one gRPC call after it. Finish is never called while a write is
// in flight; it is also called after a cancel, and the object dies only after OnDone: it holds
// itself until then, and producers share it. Thread rule: any thread; no hook is called with a lock
// held.
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
              std::string_view method)
      : call_(std::move(core), context, method) {}

  // Takes hold of itself until OnDone. Once, before anything else.
  void Open();

  // False when the event was not taken: the stream has ended, or ends now because the buffer is
  // full.
  bool Push(const google::protobuf::MessageLite& event) LFM2_EXCLUDES(mutex_);
  // No more events; what is buffered is still sent, then the status.
  void End(const absl::Status& status) LFM2_EXCLUDES(mutex_);
  // The same with one last event, which the buffer's limit does not touch.
  void EndWith(const google::protobuf::MessageLite& event) LFM2_EXCLUDES(mutex_);
  // Ends at once: what is buffered is dropped.
  void Cut(const absl::Status& status) LFM2_EXCLUDES(mutex_);
  // Until Release nothing is written: events gather behind a call that may still be refused.
  void Hold() LFM2_EXCLUDES(mutex_);
  void Release() LFM2_EXCLUDES(mutex_);

  // Nobody reads any more, or the stream was cut: producers may stop.
  bool stopped() const { return stopped_; }
  // OK, or the status that it was cut with.
  absl::Status WhyStopped() const LFM2_EXCLUDES(mutex_);
  bool HasBacklog() LFM2_EXCLUDES(mutex_);
  // Whether the buffer takes all that one step of a sequence brings.
  bool HasRoom() LFM2_EXCLUDES(mutex_);
  // Ends the stream when its write has stood, or its buffer been full, for too long. Called now and
  // then by the server.
  void EndIfStuck(SteadyTime now) LFM2_EXCLUDES(mutex_);
  // Whether a client can go on from where it was: such streams do not hold up a shutdown.
  virtual bool resumable() const { return false; }

  RpcCall& call() { return call_; }
  // Runs `work` on the executor with this object kept alive; a failure ends the stream.
  void OnWorker(std::function<void()> work);

  void OnWriteDone(bool ok) final LFM2_EXCLUDES(mutex_);
  void OnCancel() final LFM2_EXCLUDES(mutex_);
  void OnDone() final;

 protected:
  // The buffer is empty and the last write is through: a producer that can wait makes the next
  // event now.
  virtual void OnRoom() {}
  // Once, when the stream is cut for whatever reason.
  virtual void OnStopped() {}
  // What the client's deadline came in: the reason of a stream that is cut by it.
  virtual Reason LateReason() const { return Reason::kDeadlineInDecode; }
  // Before the last reference of its own goes.
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
  grpc::ByteBuffer writing_;  // between StartWrite and OnWriteDone the library's
  bool write_in_flight_ LFM2_GUARDED_BY(mutex_) = false;
  SteadyTime write_started_ LFM2_GUARDED_BY(mutex_);
  // When it became full; empty once half of it was read.
  std::optional<SteadyTime> full_since_ LFM2_GUARDED_BY(mutex_);
  bool held_ LFM2_GUARDED_BY(mutex_) = false;
  bool ended_ LFM2_GUARDED_BY(mutex_) = false;     // no event comes any more
  bool cut_ LFM2_GUARDED_BY(mutex_) = false;       // and none is written any more
  bool finished_ LFM2_GUARDED_BY(mutex_) = false;  // Finish has been called
  bool sever_ LFM2_GUARDED_BY(mutex_) = false;     // the write in flight is not waited for
  // a call of Sever runs: no Finish until it returned
  bool severing_ LFM2_GUARDED_BY(mutex_) = false;
  absl::Status status_ LFM2_GUARDED_BY(mutex_);
};

// Opens a call of class `Call`, whose Start(Request) runs on the executor after admission and
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
