// One Generate: checked, bound to a model and submitted on the executor; from then on the engine
// pushes tokens into the stream. A reader that is gone or too slow makes Stopped() say so at once,
// so the engine frees the sequence before its next step. Ownership: the engine shares it until
// OnEnd, the stream holds itself until OnDone.
#pragma once

#include <atomic>
#include <memory>

#include "lfm2/v1/generation.pb.h"
#include "server/engine/request.h"
#include "server/rpc/convert_generation.h"
#include "server/rpc/event_stream.h"

namespace lfm2 {

class GenerateCall final : public EventStream, public TokenSink {
 public:
  using EventStream::EventStream;
  void Start(const v1::GenerateRequest& request);  // on the executor

  void OnStart() override { started_ = true; }
  bool OnToken(TokenEvent event) override;
  void OnEnd(GenerateEnd end) override;
  absl::Status Stopped() const override { return WhyStopped(); }

 private:
  Reason LateReason() const override {
    return started_ ? Reason::kDeadlineInDecode : Reason::kDeadlineInQueue;
  }
  void OnModel(const ModelPool::Acquired& model);  // on the executor

  GenerateAsk ask_;  // from Start to OnModel
  SteadyTime deadline_;
  std::atomic<bool> started_{false};
  std::shared_ptr<const Tokenizer> tokenizer_;  // set before Submit
};

}  // namespace lfm2
