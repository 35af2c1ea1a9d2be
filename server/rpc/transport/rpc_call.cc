#include "server/rpc/transport/rpc_call.h"

#include <grpc/grpc.h>

#include <algorithm>
#include <exception>
#include <new>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/errors.h"
#include "base/log.h"
#include "server/engine/metrics.h"
#include "server/rpc/transport/status.h"

namespace lfm2 {
namespace {

constexpr int64_t kDrainRetryMs = 1000;
constexpr std::chrono::milliseconds kDeadlineSlack{50};  // time for the request to get here
constexpr char kRequestIdHeader[] = "x-request-id";

std::string NewRequestId() {
  std::random_device device;
  std::string id = "req-";
  for (int i = 0; i < 4; ++i) id += absl::StrFormat("%08x", device());
  return id;
}

}  // namespace

bool IsRequestId(std::string_view text, int64_t max_bytes) {
  return !text.empty() && static_cast<int64_t>(text.size()) <= max_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

absl::Status Caught(const std::string& request_id, const std::function<void()>& work) {
  try {
    work();
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    Log(LogLevel::kError, "out of memory in a call", {{"request_id", request_id}});
    return Error(Reason::kOutOfMemory, "the server has not enough memory for this request");
  } catch (const std::exception& exception) {
    Log(LogLevel::kError, "exception in a call",
        {{"request_id", request_id}, {"what", exception.what()}});
  } catch (...) {
    Log(LogLevel::kError, "exception in a call", {{"request_id", request_id}});
  }
  return Error(Reason::kInternal,
               "a fault in the server; its log has details under this request id");
}

RpcCall::RpcCall(std::shared_ptr<ServiceCore> core, grpc::CallbackServerContext* context,
                 std::string_view method, CountsAs counts_as)
    : core_(std::move(core)),
      context_(context),
      method_(method),
      counts_as_(counts_as),
      arrived_(core_->context.clock.Now()) {
  core_->calls.Enter();
}

std::string_view RpcCall::HeaderOf(std::string_view key, int& count) const {
  const auto range =
      context_->client_metadata().equal_range(grpc::string_ref(key.data(), key.size()));
  count = static_cast<int>(std::distance(range.first, range.second));
  if (count == 0) return {};
  return {range.first->second.data(), range.first->second.size()};
}

absl::Status RpcCall::Admit() {
  int count = 0;
  const std::string_view header = HeaderOf("authorization", count);
  if (count > 1) {
    return Error(Reason::kCredentialInvalid, "the call has more than one authorization header");
  }
  absl::StatusOr<Principal> principal = core_->auth.Check(
      method_, count == 0 ? std::nullopt : std::optional<std::string_view>(header));
  if (!principal.ok()) return principal.status();
  principal_ = *std::move(principal);
  if (core_->draining)
    return RetryLater(Reason::kDraining, "the server is stopping", kDrainRetryMs);
  absl::Status place = core_->calls.TakePlace(tenant());
  has_place_ = place.ok();
  return place;
}

void RpcCall::Identify(std::string_view wanted) {
  const int64_t limit = core_->context.limits.request_id_bytes;
  int count = 0;
  const std::string_view header = HeaderOf(kRequestIdHeader, count);
  if (IsRequestId(wanted, limit)) {
    request_id_ = std::string(wanted);
  } else if (IsRequestId(header, limit)) {
    request_id_ = std::string(header);
  } else {
    request_id_ = NewRequestId();
  }
  context_->AddInitialMetadata(kRequestIdHeader, request_id_);
}

absl::Status RpcCall::Submit(const std::function<absl::Status()>& submit) {
  if (stage_ == Stage::kAccepted) return submit();  // a second task of the same call
  submitted_ = core_->context.clock.Now();
  Stage stage = Stage::kOpen;
  if (!stage_.compare_exchange_strong(stage, Stage::kAccepted)) {
    return Error(Reason::kCancelled, "the call has ended");
  }
  absl::Status status = submit();
  if (status.ok()) return status;
  stage = Stage::kAccepted;
  const bool ended = !stage_.compare_exchange_strong(stage, Stage::kOpen);
  if (ended && counts_as_ == CountsAs::kGeneration) {  // not counted yet
    core_->context.engine.metrics().CountRejected(DetailsOf(status).reason);
  }
  return status;
}

// The engine counts the generations that it accepts.
void RpcCall::CountEnd(const absl::Status& status) {
  if (counts_as_ == CountsAs::kNothing) return;
  Metrics& metrics = core_->context.engine.metrics();
  const Stage before = stage_.exchange(Stage::kEnded);
  if (before == Stage::kOpen && !status.ok()) metrics.CountRejected(DetailsOf(status).reason);
  if (before != Stage::kAccepted || counts_as_ == CountsAs::kGeneration) return;
  const bool parity = counts_as_ == CountsAs::kParity;
  metrics.ObserveTaskEnd(parity ? Operation::kParity : Operation::kScore, status, prompt_tokens,
                         core_->context.clock.Now() - submitted_);
}

grpc::Status RpcCall::Conclude(const absl::Status& status) {
  status_ = status;
  CountEnd(status);
  if (!status.ok()) {
    if (const auto retry = DetailsOf(status).retry_after_ms) {
      context_->AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(*retry));
    }
  }
  return ToGrpcStatus(status, request_id_);
}

void RpcCall::Close() {
  const auto elapsed = core_->context.clock.Now() - arrived_;
  const std::string ms =
      absl::StrFormat("%.1f", std::chrono::duration<double, std::milli>(elapsed).count());
  const std::string reason = status_.ok() ? "OK" : SpecOf(DetailsOf(status_).reason).name;
  const bool fault =
      status_.code() == absl::StatusCode::kInternal || status_.code() == absl::StatusCode::kUnknown;
  const LogLevel level = fault ? LogLevel::kError : LogLevel::kInfo;
  const std::string code =
      absl::StatusCodeToString(fault ? absl::StatusCode::kInternal : status_.code());
  LogFields fields = {
      {"method", method_}, {"request_id", request_id_}, {"principal", principal_.name},
      {"code", code},      {"reason", reason},          {"ms", ms}};
  if (prompt_tokens >= 0) {
    fields.emplace_back("prompt_tokens", std::to_string(prompt_tokens));
    fields.emplace_back("completion_tokens",
                        std::to_string(std::max<int64_t>(completion_tokens, 0)));
  }
  Log(level, "call", fields);
  if (has_place_) core_->calls.GivePlace(tenant());
  core_->calls.Leave();
}

std::string_view RpcCall::tenant() const {
  return core_->auth.uses_tokens() ? std::string_view(principal_.name) : std::string_view();
}

SteadyTime RpcCall::ClientDeadline() const {
  const gpr_timespec raw = context_->raw_deadline();
  if (gpr_time_cmp(raw, gpr_inf_future(raw.clock_type)) == 0) return SteadyTime::max();
  const auto left = context_->deadline() - std::chrono::system_clock::now();
  // A client may set a deadline in the year 292277; a day is already more than any limit of ours.
  const auto bounded = std::min<std::chrono::system_clock::duration>(left, std::chrono::hours(24));
  return core_->context.clock.Now() + std::chrono::duration_cast<SteadyTime::duration>(bounded);
}

// gRPC sends a timeout with three digits, rounded up, and the server counts it from its arrival.
// When the client resets the stream at its deadline, the call therefore has this much time left.
bool RpcCall::GivenUpAtDeadline() const {
  const SteadyTime deadline = ClientDeadline();
  if (deadline == SteadyTime::max()) return false;
  return deadline - core_->context.clock.Now() <= (deadline - arrived_) / 100 + kDeadlineSlack;
}

SteadyTime RpcCall::Deadline() const {
  const Limits& limits = core_->context.limits;
  const SteadyTime now = core_->context.clock.Now();
  const SteadyTime client = ClientDeadline();
  if (client == SteadyTime::max()) {
    return now + std::chrono::milliseconds(limits.generate_timeout_ms);
  }
  return std::min(client, now + std::chrono::milliseconds(limits.generate_timeout_max_ms));
}

bool RpcCall::ClientDeadlinePassed() const {
  return ClientDeadline() <= core_->context.clock.Now();
}

void RpcCall::Sever(const absl::Status& status) {
  const std::string text =
      absl::StrCat(SpecOf(DetailsOf(status).reason).name, ": ", status.message());
  grpc_call_cancel_with_status(context_->c_call(), static_cast<grpc_status_code>(status.code()),
                               text.c_str(), nullptr);
}

void RpcCall::OnWorker(std::function<void()> work,
                       const std::function<void(absl::Status)>& failed) {
  RunOn(core_->context.executor, std::move(work), failed);
}

void RpcCall::OnTokenizerReader(std::function<void()> work,
                                const std::function<void(absl::Status)>& failed) {
  RunOn(core_->context.tokenizer_reads, std::move(work), failed);
}

void RpcCall::OnLongWorker(std::function<void()> work,
                           const std::function<void(absl::Status)>& failed) {
  RunOn(core_->context.long_work, std::move(work), failed);
}

void RpcCall::RunOn(Executor& executor, std::function<void()> work,
                    const std::function<void(absl::Status)>& failed) {
  const absl::Status queued = executor.Run([id = request_id_, work = std::move(work), failed] {
    if (absl::Status status = Caught(id, work); !status.ok()) failed(std::move(status));
  });
  if (!queued.ok()) failed(queued);
}

}  // namespace lfm2
