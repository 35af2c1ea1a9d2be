#include "server/rpc/parity_call.h"

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "server/rpc/convert.h"

namespace lfm2 {

absl::StatusOr<std::shared_ptr<LoadedModel>> ParityCall::Prepare() {
  const ServiceContext& services = call().services();
  LFM2_ASSIGN_OR_RETURN(ask_, CheckParity(request_, services.limits));
  LFM2_ASSIGN_OR_RETURN(const std::string reference, ModelReference(request_.model(), services));
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<LoadedModel> model, services.models.Acquire(reference));
  LFM2_RETURN_IF_ERROR(CheckParityTokens(ask_.tokens, model->config.vocab_size,
                                         model->ContextLength(services.default_context)));
  return model;
}

void ParityCall::Start(const v1::ParityRequest& request) {
  if (stopped()) return;
  request_ = request;
  const absl::StatusOr<std::shared_ptr<LoadedModel>> model = Prepare();
  if (!model.ok()) return End(model.status());
  call().prompt_tokens = static_cast<int64_t>(ask_.tokens.size());
  RunOn(*model, [this](absl::StatusOr<ParityReport> report) {
    if (!report.ok()) return End(report.status());
    report_ = *std::move(report);
    if (request_.has_against()) {
      OnWorker([this] { CompareWith(); });
    } else {
      SendNext();
    }
  });
}

void ParityCall::RunOn(const std::shared_ptr<LoadedModel>& model, Then then) {
  const auto self = shared_from_this();  // keeps `this` of `then` alive
  ModelTask task;
  task.model = model;
  task.deadline = call().ClientDeadline();
  task.run = [this, self, then](ModelRunner& runner) {
    if (stopped()) return;
    const absl::Status caught = Caught(call().request_id(), [&] {
      then(runner.Probe(ask_.tokens, ask_.values || request_.has_against()));
    });
    if (!caught.ok()) End(caught);
  };
  task.dropped = [self, then](const absl::Status& status) { then(status); };
  if (absl::Status status = call().services().engine.Submit(std::move(task)); !status.ok()) {
    then(status);
  }
}

void ParityCall::CompareWith() {
  if (stopped()) return;
  const ServiceContext& services = call().services();
  if (request_.against().kind_case() == v1::Source::kModel) {
    return CompareWithModel(request_.against().model());
  }
  const absl::StatusOr<SourceSpec> source = ResolveSource(request_.against(), services);
  if (!source.ok()) return End(source.status());
  if (!services.probe) return End(Error(Reason::kUnsupported, "this build compares models only"));
  Compare(services.probe(*source, ask_.tokens, true));
}

void ParityCall::CompareWithModel(const std::string& reference) {
  const absl::StatusOr<std::shared_ptr<LoadedModel>> other =
      call().services().models.Acquire(reference);
  if (!other.ok()) return End(other.status());
  const absl::Status fits =
      CheckParityTokens(ask_.tokens, (*other)->config.vocab_size,
                        (*other)->ContextLength(call().services().default_context));
  if (!fits.ok()) return End(Annotate(fits, "against"));
  RunOn(*other, [this](absl::StatusOr<ParityReport> theirs) {
    // The comparison walks every value: not on the engine's thread.
    auto shared = std::make_shared<absl::StatusOr<ParityReport>>(std::move(theirs));
    OnWorker([this, shared] { Compare(*shared); });
  });
}

void ParityCall::Compare(const absl::StatusOr<ParityReport>& theirs) {
  if (!theirs.ok()) return End(Annotate(theirs.status(), "against"));
  comparison_ = CompareReports(report_, *theirs, ask_.tolerance);
  SendNext();
}

std::optional<v1::ParityResponse> ParityCall::NextProbe() {
  if (probe_ >= report_.probes.size()) return std::nullopt;
  Probe& probe = report_.probes[probe_];
  if (!ask_.values) probe.values.clear();  // kept for the comparison only
  v1::ParityResponse out = ProbeMessage(probe, offset_);
  offset_ += kValuesPerMessage;
  if (offset_ >= probe.values.size()) {
    ++probe_;
    offset_ = 0;
  }
  return out;
}

std::optional<v1::ParityResponse> ParityCall::NextLogits() {
  if (report_.logits_shape.size() != 2) return std::nullopt;
  const int64_t positions = report_.logits_shape[0];
  if (!ask_.all_logits && position_ < positions - 1) position_ = positions - 1;
  if (position_ >= positions) return std::nullopt;
  v1::ParityResponse out = LogitsMessage(report_, position_, offset_);
  offset_ += kValuesPerMessage;
  if (offset_ >= static_cast<size_t>(report_.logits_shape[1])) {
    ++position_;
    offset_ = 0;
  }
  return out;
}

void ParityCall::SendNext() {
  std::optional<v1::ParityResponse> next = NextProbe();
  if (!next) next = NextLogits();
  if (next) {
    Push(*next);
  } else if (comparison_) {
    EndWith(ComparisonMessage(*comparison_));
  } else {
    End(absl::OkStatus());
  }
}

}  // namespace lfm2
