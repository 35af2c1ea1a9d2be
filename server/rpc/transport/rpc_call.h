// What unary calls and streams have in common: the caller, the request id, the status that is sent,
// and one log line. Thread rule: Receive from the handler; Conclude once, before Finish; the rest
// as each comment says. Ownership: part of a reactor, which calls Close in OnDone.
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

// 1 to max_bytes of printable ASCII without spaces, because headers and logs contain it.
bool IsRequestId(std::string_view text, int64_t max_bytes);

// What the engine's metrics count of a call.
enum class CountsAs {
  kNothing,
  kRejection,   // an end that is an error
  kGeneration,  // the same; what the engine accepts, it counts itself
  kScore,       // the same, and the end of a task that the engine accepted
  kParity,      // likewise
};

class RpcCall {
 public:
  RpcCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
          std::string_view method, CountsAs counts_as = CountsAs::kNothing);

  // Checks credentials, scope, draining and the limits on open calls. The request is not looked at
  // before this.
  absl::Status Admit();
  // Admits the call, parses the request and takes over its id.
  template <typename Request>
  absl::StatusOr<Request> Receive(const grpc::ByteBuffer& bytes);
  // Sets the call's id and puts it into the initial metadata: `wanted` if it is a valid id, else
  // the client's x-request-id, else a new one. Call before anything is sent.
  void Identify(std::string_view wanted);

  // Calls `submit`, which gives the call's work to the engine, unless the call has ended. After OK
  // the call's end is counted as that of an accepted request.
  absl::Status Submit(const std::function<absl::Status()>& submit);
  // The status to send; adds grpc-retry-pushback-ms if it has a retry delay. Counts what the engine
  // does not count: calls that never reached it, and ends of tasks.
  grpc::Status Conclude(const absl::Status& status);
  // Call in OnDone: writes the log line and closes the call.
  void Close();

  // When the client stops waiting; SteadyTime::max() when it set no deadline.
  SteadyTime ClientDeadline() const;
  // Whether a client that cancels now does so because of its deadline. A cancel just before the
  // deadline looks the same.
  bool GivenUpAtDeadline() const;
  bool ClientDeadlinePassed() const;
  // The client's deadline, at most the longest that we allow; our default when it set none.
  SteadyTime Deadline() const;
  // Ends the call without waiting for an unfinished write. Only between Receive and Finish.
  void Sever(const absl::Status& status);

  // Runs `work` on the executor. Calls `failed` when the queue is full or `work` throws.
  void OnWorker(std::function<void()> work, const std::function<void(absl::Status)>& failed);
  // The same on other executors; ServiceContext says which work runs where.
  void OnTokenizerReader(std::function<void()> work,
                         const std::function<void(absl::Status)>& failed);
  void OnLongWorker(std::function<void()> work, const std::function<void(absl::Status)>& failed);

  ServiceCore& core() const { return *core_; }
  const ServiceContext& services() const { return core_->context; }
  const std::string& request_id() const { return request_id_; }
  const std::string& principal() const { return principal_.name; }
  // The caller whose caches and share of the queue this call uses: the token's name, or "" when the
  // server has no tokens.
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
  const CountsAs counts_as_;
  const SteadyTime arrived_;
  Principal principal_;
  std::string request_id_;
  bool has_place_ = false;
  std::atomic<Stage> stage_{Stage::kOpen};
  SteadyTime submitted_;  // written before stage_ is kAccepted
  absl::Status status_;
};

// Calls `work`. An exception is logged and becomes kInternal, or kOutOfMemory for bad_alloc.
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
