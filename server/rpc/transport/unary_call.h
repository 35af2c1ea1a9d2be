// A unary call whose work starts on the executor and may end on another thread, such as the
// engine's. Call Reply exactly once, from any thread. Ownership: holds itself until OnDone; the
// code that will reply shares it.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "base/errors.h"
#include "server/rpc/transport/rpc_call.h"

namespace lfm2 {

class UnaryCall : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<UnaryCall> {
 public:
  UnaryCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
            std::string_view method, grpc::ByteBuffer* response, CountsAs counts_as)
      : call_(std::move(core), context, method, counts_as), response_(response) {}

  void Open() { self_ = shared_from_this(); }

  // Drops any later reply: work that throws after it has replied must not answer twice.
  void Fail(const absl::Status& status) {
    if (!replied_.exchange(true)) Finish(call_.Conclude(status));
  }
  void Reply(const google::protobuf::MessageLite& message) {
    if (replied_.exchange(true)) return;
    *response_ = SerializeReply(message);
    Finish(call_.Conclude(absl::OkStatus()));
  }
  template <typename Response>
  void Reply(const absl::StatusOr<Response>& result) {
    if (result.ok()) {
      Reply(*result);
    } else {
      Fail(result.status());
    }
  }

  RpcCall& call() { return call_; }
  // OK, or why the client no longer waits for an answer: kCancelled, or `late` after its deadline.
  absl::Status WhyStopped(Reason late = Reason::kDeadlineInDecode) const {
    if (cancelled_ && !late_) return Error(Reason::kCancelled, "the client cancelled");
    if (!cancelled_ && !call_.ClientDeadlinePassed()) return absl::OkStatus();
    return Error(late, "the client's deadline has passed");
  }
  void OnWorker(std::function<void()> work) {
    call_.OnWorker([self = shared_from_this(), work = std::move(work)] { work(); },
                   [self = shared_from_this()](const absl::Status& status) { self->Fail(status); });
  }
  // How work that waited elsewhere goes on: on the executor, with this object kept alive meanwhile.
  std::function<void(std::function<void()>)> Resume() {
    return [self = shared_from_this()](std::function<void()> work) {
      self->OnWorker(std::move(work));
    };
  }
  void OnTokenizerReader(std::function<void()> work) {
    call_.OnTokenizerReader(
        [self = shared_from_this(), work = std::move(work)] { work(); },
        [self = shared_from_this()](const absl::Status& status) { self->Fail(status); });
  }
  // Runs `work` on the executor of long work, unless the client has gone meanwhile.
  void OnLongWorker(std::function<void()> work) {
    call_.OnLongWorker(
        [self = shared_from_this(), work = std::move(work)] {
          absl::Status stopped = self->WhyStopped(Reason::kDeadlineInQueue);
          stopped.ok() ? work() : self->Fail(stopped);
        },
        [self = shared_from_this()](const absl::Status& status) { self->Fail(status); });
  }
  void OnCancel() override {
    late_ = call_.GivenUpAtDeadline();
    cancelled_ = true;
  }
  void OnDone() override {
    call_.Close();
    const std::shared_ptr<UnaryCall> last = std::move(self_);
  }

 private:
  RpcCall call_;
  grpc::ByteBuffer* const response_;
  std::shared_ptr<UnaryCall> self_;
  std::atomic<bool> replied_{false};
  std::atomic<bool> late_{false}, cancelled_{false};  // late_ is written first
};

// The arguments of a handler. The library owns `response` until OnDone.
struct UnaryWire {
  grpc::CallbackServerContext* context;
  std::string_view method;
  const grpc::ByteBuffer* request;
  grpc::ByteBuffer* response;
  CountsAs counts_as = CountsAs::kNothing;
};

// `work(call, request)` runs on the executor and must make sure that the call is answered.
template <typename Request>
grpc::ServerUnaryReactor* AnswerLater(
    std::shared_ptr<ServiceCore> core, const UnaryWire& wire,
    std::function<void(const std::shared_ptr<UnaryCall>&, const Request&)> work) {
  auto unary = std::make_shared<UnaryCall>(std::move(core), wire.context, wire.method,
                                           wire.response, wire.counts_as);
  unary->Open();
  const absl::Status caught = Caught(unary->call().request_id(), [&] {
    absl::StatusOr<Request> request = unary->call().Receive<Request>(*wire.request);
    if (!request.ok()) return unary->Fail(request.status());
    unary->OnWorker([call = unary.get(), shared = std::make_shared<Request>(*std::move(request)),
                     work = std::move(work)] { work(call->shared_from_this(), *shared); });
  });
  if (!caught.ok()) unary->Fail(caught);
  return unary.get();
}

// The usual case: `work(call, request)` returns the answer.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* Answer(
    std::shared_ptr<ServiceCore> core, const UnaryWire& wire,
    std::function<absl::StatusOr<Response>(RpcCall&, const Request&)> work) {
  return AnswerLater<Request>(
      std::move(core), wire,
      [work = std::move(work)](const std::shared_ptr<UnaryCall>& unary, const Request& request) {
        unary->Reply(work(unary->call(), request));
      });
}

}  // namespace lfm2
