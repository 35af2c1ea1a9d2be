#include "server/rpc/calls/parity_call.h"

#include <algorithm>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {
namespace {

// Tokens per turn. Fewer than for a prompt, because statistics of every probe cost time.
constexpr int64_t kChunkTokens = 64;

void Free(std::vector<float>& values) { std::vector<float>().swap(values); }

}  // namespace

void ParityCall::Start(const v1::ParityRequest& request) {
  if (stopped()) return;
  request_ = request;
  deadline_ = call().Deadline();
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
  const ServiceContext& services = call().services();
  services.models.AcquireThen(
      reference, services.loads, Resume(), [this, then](const ModelPool::Acquired& model) {
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
  const bool compares = request_.has_against();
  auto parity = std::make_shared<ParityTask>(
      ask_.tokens,
      ReportKeep{.values = ask_.values || compares, .all_logits = ask_.all_logits || compares},
      std::min(kChunkTokens, call().services().limits.prompt_chunk_tokens));
  ModelTask task;
  task.model = model;
  task.tenant = std::string(call().tenant());
  task.priority = Priority::kLow;
  task.tokens = static_cast<int64_t>(ask_.tokens.size());
  task.keeps_state = true;
  task.deadline = deadline_;
  task.stopped = [self] { return self->WhyStopped(); };
  task.run = [this, self, then, parity = std::move(parity)](ModelRunner& runner) {
    bool more = false;
    const absl::Status caught =
        Caught(call().request_id(), [&] { more = TakeTurn(*parity, runner, then); });
    if (!caught.ok()) End(caught);
    return more;
  };
  task.dropped = [self, then](const absl::Status& status) { then(status); };
  Engine& engine = call().services().engine;
  const absl::Status status = call().Submit([&] { return engine.Submit(std::move(task)); });
  if (!status.ok()) then(status);
}

bool ParityCall::TakeTurn(ParityTask& parity, ModelRunner& runner, const Then& then) {
  const bool first = parity.report_bytes() == 0;
  absl::StatusOr<bool> more = parity.Advance(runner);
  if (more.ok() && first) {
    if (absl::Status room = lease_.Grow("the report", parity.report_bytes()); !room.ok()) {
      more = std::move(room);
    }
  }
  if (!more.ok()) {
    then(more.status());
    return false;
  }
  if (!*more) then(parity.Finish());
  return *more;
}

absl::Status ParityCall::CheckWanted() {
  if (stopped()) return WhyStopped();
  if (call().services().clock.Now() < deadline_) return absl::OkStatus();
  return Error(Reason::kDeadlineInDecode, "the deadline passed before the report was sent");
}

void ParityCall::OnLongWorker(std::function<void()> work) {
  call().OnLongWorker(
      [this, self = shared_from_this(), work = std::move(work)] {
        if (absl::Status wanted = CheckWanted(); !wanted.ok()) return End(wanted);
        work();
      },
      [self = shared_from_this()](const absl::Status& status) { self->Cut(status); });
}

void ParityCall::CompareWith() {
  if (stopped()) return;
  if (request_.against().kind_case() == v1::Source::kModel) {
    return CompareWithModel(request_.against().model());
  }
  if (!call().services().probe) {
    return End(
        Error(Reason::kUnsupported, "this build can only compare with models of the server"));
  }
  OnLongWorker([this] { CompareWithSource(); });
}

void ParityCall::CompareWithSource() {
  const ServiceContext& services = call().services();
  const absl::StatusOr<SourceSpec> source = ResolveSource(request_.against(), services);
  if (!source.ok()) return End(source.status());
  // The other report is about as large as this one.
  if (absl::Status room =
          lease_.Grow("the report with the one it is compared with", report_.bytes());
      !room.ok()) {
    return End(room);
  }
  Compare(services.probe(*source, ask_.tokens, [this] { return CheckWanted(); }));
}

void ParityCall::CompareWithModel(const std::string& reference) {
  ProbeModel(reference, [this](absl::StatusOr<ParityReport> theirs) {
    // The comparison reads every value, so it does not run on the engine's thread.
    auto shared = std::make_shared<absl::StatusOr<ParityReport>>(std::move(theirs));
    OnLongWorker([this, shared] { Compare(*shared); });
  });
}

void ParityCall::Compare(const absl::StatusOr<ParityReport>& theirs) {
  if (!theirs.ok()) return End(Annotate(theirs.status(), "against"));
  comparison_ = CompareReports(report_, *theirs, ask_.tolerance);
  DropWhatIsNotSent();
  SendNext();
}

void ParityCall::DropWhatIsNotSent() {
  if (!ask_.values) {
    for (Probe& probe : report_.probes) Free(probe.values);
  }
  if (!ask_.all_logits && report_.logits_shape.size() == 2) {
    report_.logits =
        std::vector<float>(report_.logits.end() - static_cast<ptrdiff_t>(report_.logits_shape[1]),
                           report_.logits.end());
  }
  lease_.ShrinkTo(report_.bytes());
}

std::optional<v1::ParityResponse> ParityCall::NextProbe() {
  if (probe_ >= report_.probes.size()) return std::nullopt;
  Probe& probe = report_.probes[probe_];
  v1::ParityResponse out = ProbeMessage(probe, offset_);
  offset_ += kValuesPerMessage;
  if (offset_ >= probe.values.size()) {
    ++probe_;
    offset_ = 0;
    Free(probe.values);
    lease_.ShrinkTo(report_.bytes());
  }
  return out;
}

std::optional<v1::ParityResponse> ParityCall::NextLogits() {
  if (report_.logits_shape.size() != 2) return std::nullopt;
  const int64_t positions = report_.logits_shape[0];
  position_ = std::max(position_, report_.first_logits());
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
  if (absl::Status wanted = CheckWanted(); !wanted.ok()) return End(wanted);
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
