// What every call has, whatever its shape: who called, its request id, its status on the wire, its
// one line in the log. Thread rule: Receive from the handler; Conclude once, before Finish; the
// rest as said. Ownership: part of a reactor, which ends it in OnDone.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/errors.h"
#include "server/rpc/transport/request_parse.h"
#include "server/rpc/transport/service_context.h"
#include "server/rpc/transport/service_core.h"

namespace lfm2 {

// 1 to max_bytes of printable ASCII without spaces: it goes into headers and logs.
bool IsRequestId(std::string_view text, int64_t max_bytes);

class RpcCall {
 public:
  RpcCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
          std::string_view method);

  // Credentials, scope, draining, the caps on open calls. Nothing of the request is looked at
  // before this.
  absl::Status Admit();
  // Admit, parse, take over the request's id.
  template <typename Request>
  absl::StatusOr<Request> Receive(const grpc::ByteBuffer& bytes);
  // The request's own id when it is one, else the x-request-id of the client's metadata, else a new
  // one; into the initial metadata. Before anything is sent.
  void Identify(std::string_view wanted);

  // Calls `submit`, which gives the call's work to the engine, unless the call has ended. From OK
  // on its end counts as that of a request that was accepted.
  absl::Status Submit(const std::function<absl::Status()>& submit);
  // The status as it is sent; adds grpc-retry-pushback-ms where there is a retry delay. Counts what
  // the engine does not: calls that it never had, and ends of tasks.
  grpc::Status Conclude(const absl::Status& status);
  // In OnDone: the log line, and the call is closed.
  void Close();

  // When the client will no longer wait; SteadyTime::max() when it named no deadline.
  SteadyTime ClientDeadline() const;
  // Whether a client that gives up now does so because of its deadline: it cannot be told apart
  // from a cancel just before.
  bool GivenUpAtDeadline() const;
  bool ClientDeadlinePassed() const;
  // The client's within the longest that we allow, ours where it named none.
  SteadyTime Deadline() const;
  // Ends the call over the head of an unfinished write. Between Receive and Finish only.
  void Sever(const absl::Status& status);

  // Runs `work` on the executor; what it throws, and a full queue, comes to `failed`.
  void OnWorker(std::function<void()> work, const std::function<void(absl::Status)>& failed);
  // The same on other executors: ServiceContext says what goes where.
  void OnTokenizerReader(std::function<void()> work,
                         const std::function<void(absl::Status)>& failed);
  void OnLongWorker(std::function<void()> work, const std::function<void(absl::Status)>& failed);

  ServiceCore& core() const { return *core_; }
  const ServiceContext& services() const { return core_->context; }
  const std::string& request_id() const { return request_id_; }
  const std::string& principal() const { return principal_.name; }
  // Whose caches and whose share of the queue this call uses: the token's name, "" without tokens.
  std::string_view tenant() const;
  bool cancelled_by_client() const { return context_->IsCancelled(); }

  std::atomic<int64_t> prompt_tokens{-1}, completion_tokens{-1};  // for the log; -1: does not apply

 private:
  enum class Stage { kOpen, kAccepted, kEnded };

  std::string_view HeaderOf(std::string_view key, int& count) const;
  void CountEnd(const absl::Status& status);
  void RunOn(Executor& executor, std::function<void()> work,
             const std::function<void(absl::Status)>& failed);

  const std::shared_ptr<ServiceCore> core_;
  grpc::CallbackServerContext* const context_;
  const std::string method_;
  const SteadyTime arrived_;
  Principal principal_;
  std::string request_id_;
  bool has_place_ = false;
  std::atomic<Stage> stage_{Stage::kOpen};
  SteadyTime submitted_;  // written before stage_ is kAccepted
  absl::Status status_;
};

// Calls `work`; an exception becomes kInternal (kOutOfMemory for bad_alloc) and a log line.
absl::Status Caught(const std::string& request_id, const std::function<void()>& work);

template <typename Request>
absl::StatusOr<Request> RpcCall::Receive(const grpc::ByteBuffer& bytes) {
  absl::Status status = Admit();
  Request request;
  if (status.ok()) status = ParseRequest(bytes, request);
  if constexpr (requires { request.request_id(); }) {
    Identify(request.request_id());
  } else {
    Identify("");
  }
  if (!status.ok()) return status;
  return request;
}

}  // namespace lfm2
