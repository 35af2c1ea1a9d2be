#include "server/engine/constraint.h"

#include <string>
#include <utility>

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "model/grammar/grammar_matcher.h"
#include "server/base/mutex.h"
#include "server/engine/grammar_pool.h"

namespace lfm2 {

struct Constraint::Shared {
  // Of the work while it is under way, of the engine's thread otherwise.
  std::shared_ptr<const Grammar> grammar;
  std::unique_ptr<GrammarMatcher> matcher;
  const TokenMask* mask = nullptr;

  Mutex mutex;
  CondVar done;
  bool working LFM2_GUARDED_BY(mutex) = false;
  bool finished LFM2_GUARDED_BY(mutex) = false;
  absl::Status status LFM2_GUARDED_BY(mutex);

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

Constraint::Constraint(std::shared_ptr<const Grammar> grammar, std::chrono::milliseconds step_limit)
    : shared_(std::make_shared<Shared>()), step_limit_(step_limit) {
  shared_->grammar = std::move(grammar);
  Begin(std::nullopt);
}

void Constraint::Begin(std::optional<int32_t> id) {
  began_ = std::chrono::steady_clock::now();
  {
    MutexLock lock(shared_->mutex);
    shared_->working = true;
  }
  const bool runs = GrammarPool::Shared().Run([shared = shared_, id] {
    const absl::StatusOr<bool> finished = shared->GoOn(id);
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
  shared_->status = Error(Reason::kGrammarTooSlow, "all threads for grammars are busy");
}

bool Constraint::WaitUntil(std::chrono::steady_clock::time_point until) {
  MutexLock lock(shared_->mutex);
  while (shared_->working) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    shared_->done.WaitFor(shared_->mutex, left);
  }
  return true;
}

absl::Status Constraint::Check() const {
  MutexLock lock(shared_->mutex);
  if (!shared_->working) return shared_->status;
  if (std::chrono::steady_clock::now() - began_ < step_limit_) return absl::OkStatus();
  const std::string limit = std::to_string(step_limit_.count());
  return Error(Reason::kGrammarTooSlow,
               "the grammar took more than " + limit + " ms to say which tokens may come next",
               {{"limit_ms", limit}});
}

bool Constraint::finished() const {
  MutexLock lock(shared_->mutex);
  return !shared_->working && shared_->finished;
}

std::span<const uint32_t> Constraint::allowed() const {
  return shared_->mask == nullptr ? std::span<const uint32_t>() : *shared_->mask;
}

}  // namespace lfm2
