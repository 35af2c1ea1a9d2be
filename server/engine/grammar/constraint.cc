#include "server/engine/grammar/constraint.h"

#include <string>
#include <utility>

#include "base/errors.h"
#include "base/mutex.h"
#include "base/operator_new/work_limit.h"
#include "base/status_macros.h"
#include "model/grammar/grammar_matcher.h"

namespace lfm2 {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr int64_t kBusyRetryMs = 1000;

absl::Status TooSlow(std::chrono::milliseconds step_limit) {
  const std::string limit = std::to_string(step_limit.count());
  return Error(Reason::kGrammarTooSlow,
               "the grammar took more than " + limit + " ms to say which tokens may come next",
               {{"limit_ms", limit}});
}

absl::Status TooLarge() {
  const std::string limit = std::to_string(kGrammarWorkBytes);
  return Error(
      Reason::kGrammarTooSlow,
      "the grammar took more than " + limit + " bytes of memory to say which tokens may come next",
      {{"limit", limit}});
}

}  // namespace

struct Constraint::Shared {
  // Used by the work while it runs, otherwise by the engine's thread.
  std::shared_ptr<const Grammar> grammar;
  std::unique_ptr<GrammarMatcher> matcher;
  const TokenMask* mask = nullptr;

  Mutex mutex;
  CondVar done;
  bool working LFM2_GUARDED_BY(mutex) = false;
  SteadyClock::time_point asked LFM2_GUARDED_BY(mutex);
  std::optional<SteadyClock::time_point> began LFM2_GUARDED_BY(mutex);  // once it has a thread
  bool finished LFM2_GUARDED_BY(mutex) = false;
  absl::Status status LFM2_GUARDED_BY(mutex);

  absl::StatusOr<bool> GoOnWithin(std::chrono::milliseconds step_limit, std::optional<int32_t> id) {
    const WorkLimit limit(step_limit, kGrammarWorkBytes);
    absl::StatusOr<bool> ended = GoOn(id);
    if (limit.broken() == WorkLimit::Broken::kTime) return TooSlow(step_limit);
    if (limit.broken() == WorkLimit::Broken::kBytes) return TooLarge();
    return ended;
  }

  absl::StatusOr<bool> GoOn(std::optional<int32_t> id) {
    if (matcher == nullptr) {
      LFM2_ASSIGN_OR_RETURN(matcher, GrammarMatcher::Make(grammar));
    }
    if (id) LFM2_RETURN_IF_ERROR(matcher->Accept(*id));
    if (matcher->finished()) return true;
    LFM2_ASSIGN_OR_RETURN(mask, matcher->NextMask());
    return false;
  }
};

Constraint::Constraint(std::shared_ptr<const Grammar> grammar, std::chrono::milliseconds step_limit,
                       GrammarPool& pool)
    : shared_(std::make_shared<Shared>()), step_limit_(step_limit), pool_(pool) {
  shared_->grammar = std::move(grammar);
  Begin(std::nullopt);
}

void Constraint::Begin(std::optional<int32_t> id) {
  {
    MutexLock lock(shared_->mutex);
    shared_->working = true;
    shared_->asked = SteadyClock::now();
    shared_->began.reset();
  }
  const bool runs = pool_.Run([shared = shared_, id, step_limit = step_limit_] {
    {
      MutexLock lock(shared->mutex);
      shared->began = SteadyClock::now();
    }
    const absl::StatusOr<bool> finished = shared->GoOnWithin(step_limit, id);
    {
      MutexLock lock(shared->mutex);
      shared->status = finished.status();
      shared->finished = finished.ok() && *finished;
      shared->working = false;
    }
    shared->done.NotifyAll();
  });
  if (runs) return;
  MutexLock lock(shared_->mutex);
  shared_->working = false;
  shared_->status =
      RetryLater(Reason::kQueueFull, "no thread is free for another grammar", kBusyRetryMs);
}

bool Constraint::WaitUntil(SteadyClock::time_point until) {
  MutexLock lock(shared_->mutex);
  while (shared_->working) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - SteadyClock::now());
    if (left.count() <= 0) return false;
    shared_->done.WaitFor(shared_->mutex, left);
  }
  return true;
}

absl::Status Constraint::Check() const {
  MutexLock lock(shared_->mutex);
  if (!shared_->working) return shared_->status;
  const SteadyClock::time_point now = SteadyClock::now();
  if (now - shared_->began.value_or(shared_->asked) < step_limit_) return absl::OkStatus();
  if (shared_->began) return TooSlow(step_limit_);
  return RetryLater(
      Reason::kQueueFull,
      "other grammars left this one no thread for " + std::to_string(step_limit_.count()) + " ms",
      kBusyRetryMs);
}

bool Constraint::finished() const {
  MutexLock lock(shared_->mutex);
  return !shared_->working && shared_->finished;
}

std::span<const uint32_t> Constraint::allowed() const {
  return shared_->mask == nullptr ? std::span<const uint32_t>() : *shared_->mask;
}

}  // namespace lfm2
