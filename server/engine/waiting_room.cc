#include "server/engine/waiting_room.h"

#include <algorithm>

#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr int64_t kLeastRetryMs = 100, kMostRetryMs = 30'000;
constexpr double kSmoothing = 0.1;
constexpr double kLongestGapMs = 1000;  // a longer gap means that no request waited

absl::Status Refusal(Reason reason, const char* who, const char* what, int64_t value, int64_t limit,
                     int64_t retry_ms) {
  ErrorDetails details;
  details.reason = reason;
  details.retry_after_ms = retry_ms;
  details.metadata = {{what, std::to_string(value)}, {"limit", std::to_string(limit)}};
  return WithDetails(std::string(who) + std::to_string(value) + " " + what + " waiting, limit " +
                         std::to_string(limit),
                     details);
}

}  // namespace

int64_t WaitingRoom::RetryMs(int64_t requests) const {
  const auto ms = static_cast<int64_t>(static_cast<double>(requests) * ms_between_leaves_);
  return std::clamp(ms, kLeastRetryMs, kMostRetryMs);
}

absl::Status WaitingRoom::Check(std::string_view tenant, int64_t tokens) const {
  const auto over = [&](const Share& share, Reason reason, const char* who, int64_t requests_limit,
                        int64_t tokens_limit) -> absl::Status {
    const int64_t retry_ms = RetryMs(share.requests);
    if (share.requests >= requests_limit) {
      return Refusal(reason, who, "requests", share.requests, requests_limit, retry_ms);
    }
    if (share.requests > 0 && share.tokens + tokens > tokens_limit) {
      return Refusal(reason, who, "tokens", share.tokens, tokens_limit, retry_ms);
    }
    return absl::OkStatus();
  };
  const auto own = tenant.empty() ? callers_.end() : callers_.find(tenant);
  if (own != callers_.end()) {
    absl::Status status =
        over(own->second, Reason::kTooManyRequests, "this caller has ",
             limits_.waiting_requests_per_caller, limits_.waiting_tokens_per_caller);
    if (!status.ok()) return status;
  }
  return over(all_, Reason::kQueueFull, "there are ", limits_.waiting_requests,
              limits_.waiting_tokens);
}

absl::Status WaitingRoom::Enter(std::string_view tenant, int64_t tokens) {
  if (absl::Status status = Check(tenant, tokens); !status.ok()) return status;
  ++all_.requests;
  all_.tokens += tokens;
  if (!tenant.empty()) {
    Share& own = callers_[std::string(tenant)];
    ++own.requests;
    own.tokens += tokens;
  }
  return absl::OkStatus();
}

void WaitingRoom::Leave(std::string_view tenant, int64_t tokens, SteadyTime now) {
  --all_.requests;
  all_.tokens -= tokens;
  const double gap = std::chrono::duration<double, std::milli>(now - last_left_).count();
  ms_between_leaves_ += kSmoothing * (std::clamp(gap, 0.0, kLongestGapMs) - ms_between_leaves_);
  last_left_ = now;
  const auto own = tenant.empty() ? callers_.end() : callers_.find(tenant);
  if (own == callers_.end()) return;
  --own->second.requests;
  own->second.tokens -= tokens;
  if (own->second.requests == 0) callers_.erase(own);
}

}  // namespace lfm2
