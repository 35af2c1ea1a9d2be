#include "server/rpc/parity_call.h"

#include "model/core/errors.h"
#include "server/rpc/acquire_model.h"
#include "server/rpc/convert.h"

namespace lfm2 {

void ParityCall::Start(const v1::ParityRequest& request) {
  if (stopped()) return;
  request_ = request;
  const ServiceContext& services = call().services();
  absl::StatusOr<ParityAsk> ask = CheckParity(request_, services.limits);
  if (!ask.ok()) return End(ask.status());
  ask_ = *std::move(ask);
  call().prompt_tokens = static_cast<int64_t>(ask_.tokens.size());
  const absl::StatusOr<std::string> reference = ModelReference(request_.model(), services);
  if (!reference.ok()) return End(reference.status());
  ProbeModel(*reference, [this](absl::StatusOr<ParityReport> report) {
    if (!report.ok()) return End(report.status());
    report_ = *std::move(report);
    if (request_.has_against()) {
      OnWorker([this] { CompareWith(); });
    } else {
      SendNext();
    }
  });
}

void ParityCall::ProbeModel(const std::string& reference, const Then& then) {
  AcquireModel<EventStream>(
      shared_from_this(), reference, [this, then](const ModelPool::Acquired& model) {
        if (stopped()) return;
        if (!model.ok()) return then(model.status());
        const absl::Status fits =
            CheckParityTokens(ask_.tokens, (*model)->config.vocab_size,
                              (*model)->ContextLength(call().services().default_context));
        if (!fits.ok()) return then(fits);
        RunOn(*model, then);
      });
}

void ParityCall::RunOn(const std::shared_ptr<LoadedModel>& model, const Then& then) {
  const auto self = shared_from_this();  // keeps `this` of `then` alive
  ModelTask task;
  task.model = model;
  task.tenant = std::string(call().tenant());
  task.priority = Priority::kLow;  // one pass over everything cannot be interrupted
  task.tokens = static_cast<int64_t>(ask_.tokens.size());
  task.deadline = call().ClientDeadline();
  task.stopped = [self] { return self->WhyStopped(); };
  task.run = [this, self, then](ModelRunner& runner) {
    const absl::Status caught = Caught(call().request_id(), [&] {
      then(runner.Probe(ask_.tokens, ask_.values || request_.has_against()));
    });
    if (!caught.ok()) End(caught);
    return false;
  };
  task.dropped = [self, then](const absl::Status& status) { then(status); };
  Engine& engine = call().services().engine;
  const absl::Status status = call().Submit([&] { return engine.Submit(std::move(task)); });
  if (!status.ok()) then(status);
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
  ProbeModel(reference, [this](absl::StatusOr<ParityReport> theirs) {
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
