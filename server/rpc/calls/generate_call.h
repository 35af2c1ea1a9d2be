// One Generate: the executor checks the request, binds it to a model and submits it; then the
// engine pushes tokens into the stream. When the client has gone or reads too slowly, Stopped()
// returns an error at once and the engine frees the sequence before its next step. Ownership: the
// engine shares it until OnEnd, the stream holds itself until OnDone.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "lfm2/v1/generation.pb.h"
#include "server/engine/request.h"
#include "server/rpc/calls/convert_generate.h"
#include "server/rpc/transport/event_stream.h"

namespace lfm2 {

class GenerateCall final : public EventStream, public TokenSink {
 public:
  GenerateCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
               std::string_view method)
      : EventStream(std::move(core), context, method, CountsAs::kGeneration) {}
  void Start(const v1::GenerateRequest& request);  // on the executor

  void OnStart() override { started_ = true; }
  bool Ready() override { return HasRoom(); }
  bool OnToken(TokenEvent event) override;
  void OnEnd(GenerateEnd end) override;
  absl::Status Stopped() const override { return WhyStopped(); }

 private:
  Reason LateReason() const override {
    return started_ ? Reason::kDeadlineInDecode : Reason::kDeadlineInQueue;
  }
  // These run on the executor, one after the other.
  void OnModel(const ModelPool::Acquired& model);
  void AskForGrammar(const GrammarSource& source);
  void OnGrammar(const GrammarCache::Result& grammar);  // on the thread that compiled the grammar
  void Submit();
  void OnStopped() override;

  GenerateAsk ask_;          // from Start to OnModel
  GenerateRequest request_;  // from OnModel to Submit
  // Held while OnGrammar posts to the executor, because a stopped call may outlive the executor.
  // Recursive, because a full executor stops the call.
  std::recursive_mutex posting_;
  SteadyTime deadline_;
  std::atomic<bool> started_{false};
  std::shared_ptr<const Tokenizer> tokenizer_;  // set before Submit
};

}  // namespace lfm2
