// One Parity: a pass over given tokens in turns on the engine's thread, with `against` another one,
// then the report event by event as the reader takes it (all logits of a long prompt are far larger
// than any buffer). What is kept of the report is charged to the server's budget of them, and given
// back as it is sent.
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
  using EventStream::EventStream;
  void Start(const v1::ParityRequest& request);

 protected:
  void OnRoom() override { SendNext(); }

 private:
  using Then = std::function<void(absl::StatusOr<ParityReport>)>;
  void ProbeModel(const std::string& reference, const Then& then);
  // `then` is called once: on the engine's thread, or at once when the engine refuses.
  void RunOn(const std::shared_ptr<LoadedModel>& model, const Then& then);
  bool TakeTurn(ParityTask& parity, ModelRunner& runner, const Then& then);
  void OnLongWorker(std::function<void()> work);
  void CompareWith();  // on the executor
  void CompareWithModel(const std::string& reference);
  void CompareWithSource();  // these two on the executor of long work
  void Compare(const absl::StatusOr<ParityReport>& theirs);
  absl::Status CheckWanted();
  // What was kept for the comparison alone.
  void DropWhatIsNotSent();
  void SendNext();
  std::optional<v1::ParityResponse> NextProbe();
  std::optional<v1::ParityResponse> NextLogits();

  v1::ParityRequest request_;
  ParityAsk ask_;
  SteadyTime deadline_;
  ByteBudget::Lease lease_{call().core().parity_bytes};
  ParityReport report_;  // from the first event on it only loses what was sent
  std::optional<ParityComparison> comparison_;
  size_t probe_ = 0;  // where the sending is
  int64_t position_ = 0;
  size_t offset_ = 0;
};

}  // namespace lfm2
