// One Parity: computes the given tokens in turns on the engine's thread, with `against` a second
// time with the other model, then sends the report event by event as the client reads, since all
// logits of a long prompt are far larger than any buffer. The report's memory is charged to
// limits.parity_bytes and returned as it is sent.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lfm2/v1/models.pb.h"
#include "model/parity/probe.h"
#include "server/engine/parity_task.h"
#include "server/rpc/calls/convert_models.h"
#include "server/rpc/transport/event_stream.h"

namespace lfm2 {

class ParityCall final : public EventStream {
 public:
  ParityCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
             std::string_view method)
      : EventStream(std::move(core), context, method, CountsAs::kParity) {}
  void Start(const v1::ParityRequest& request);

 protected:
  void OnRoom() override { SendNext(); }

 private:
  using Then = std::function<void(absl::StatusOr<ParityReport>)>;
  void ProbeModel(const std::string& reference, const Then& then);
  // Calls `then` once: on the engine's thread, or at once when the engine refuses.
  void RunOn(const std::shared_ptr<LoadedModel>& model, const Then& then);
  bool TakeTurn(ParityTask& parity, ModelRunner& runner, const Then& then);
  void OnLongWorker(std::function<void()> work);
  void CompareWith();  // on the executor
  void CompareWithModel(const std::string& reference);
  void CompareWithSource();  // this and Compare run on the executor of long work
  void Compare(const absl::StatusOr<ParityReport>& theirs);
  absl::Status CheckWanted();
  // Frees what was only needed for the comparison.
  void DropWhatIsNotSent();
  void SendNext();
  std::optional<v1::ParityResponse> NextProbe();
  std::optional<v1::ParityResponse> NextLogits();

  v1::ParityRequest request_;
  ParityAsk ask_;
  SteadyTime deadline_;
  ByteBudget::Lease lease_{call().core().parity_bytes};
  ParityReport report_;  // after the first event, parts are only removed as they are sent
  std::optional<ParityComparison> comparison_;
  size_t probe_ = 0;  // the next probe, position and offset to send
  int64_t position_ = 0;
  size_t offset_ = 0;
};

}  // namespace lfm2
