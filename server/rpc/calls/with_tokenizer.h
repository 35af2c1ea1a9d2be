// Unary calls that need a model's tokenizer. A tokenizer.json may be large, so one that is not in
// memory is read on a separate executor and does not delay other calls.
#pragma once

#include <memory>

#include "server/rpc/calls/convert.h"
#include "server/rpc/transport/unary_call.h"

namespace lfm2 {

// Also true for a model that does not exist; the call itself then reports that.
template <typename ModelRef>
bool HasTokenizer(const RpcCall& call, const ModelRef& model) {
  const absl::StatusOr<std::string> reference = ModelReference(model, call.services());
  if (!reference.ok()) return true;
  const absl::StatusOr<ModelVersion> version = call.services().model_store.Resolve(*reference);
  return !version.ok() || call.core().tokenizers.Find(*version) != nullptr;
}

// As Answer, for a request that names a model.
template <typename Request, typename Response>
grpc::ServerUnaryReactor* AnswerWithTokenizer(
    std::shared_ptr<ServiceCore> core, const UnaryWire& wire,
    std::function<absl::StatusOr<Response>(RpcCall&, const Request&)> work) {
  return AnswerLater<Request>(
      std::move(core), wire,
      [work = std::move(work)](const std::shared_ptr<UnaryCall>& unary, const Request& request) {
        auto answer = [call = unary.get(), request, work] {
          call->Reply(work(call->call(), request));
        };
        HasTokenizer(unary->call(), request.model()) ? answer() : unary->OnTokenizerReader(answer);
      });
}

}  // namespace lfm2
