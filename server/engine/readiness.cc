#include "server/engine/readiness.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "server/engine/self_test.h"

namespace lfm2 {

struct Readiness::Trial : std::enable_shared_from_this<Readiness::Trial> {
  Trial(Engine& the_engine, std::string model) : engine(the_engine), name(std::move(model)) {}

  void Test(const ModelPool::Acquired& model) {
    if (!model.ok()) return End(model.status());
    const absl::Status submitted = engine.Submit(SelfTest(
        *model, [self = shared_from_this()](const absl::Status& status) { self->End(status); }));
    if (!submitted.ok()) End(submitted);
  }

  // The same cause is logged once.
  void End(const absl::Status& status) {
    answered = status.ok();
    bool is_new = false;
    {
      MutexLock lock(mutex);
      is_new = cause != status.message();
      cause = std::string(status.message());
    }
    if (!answered && is_new) {
      Log(LogLevel::kError, "the default model does not answer",
          {{"model", name}, {"cause", std::string(status.message())}});
    }
    running = false;
  }

  Engine& engine;
  const std::string name;
  std::atomic<bool> running{false};
  std::atomic<bool> answered{false};
  Mutex mutex;
  std::string cause LFM2_GUARDED_BY(mutex);
};

Readiness::Readiness(const Parts& parts, std::string default_model, int64_t retry_ms)
    : parts_(parts),
      default_model_(std::move(default_model)),
      retry_(retry_ms),
      trial_(std::make_shared<Trial>(parts.engine, default_model_)) {}

bool Readiness::Look() {
  const SteadyTime now = parts_.clock.Now();
  if (default_model_.empty()) {
    if (!has_model_ || now >= next_look_) {
      has_model_ = HasModel();
      next_look_ = now + retry_;
    }
    return has_model_;
  }
  if (!trial_->answered && !trial_->running && now >= next_look_) {
    next_look_ = now + retry_;
    trial_->running = true;
    const std::optional<ModelPool::Acquired> known = parts_.models.Acquire(
        default_model_, parts_.loads,
        [trial = trial_](const ModelPool::Acquired& model) { trial->Test(model); });
    if (known) trial_->Test(*known);
  }
  return trial_->answered;
}

bool Readiness::HasModel() const {
  if (!parts_.models.Loaded().empty()) return true;
  const absl::StatusOr<std::vector<ModelVersion>> stored = parts_.store.List();
  return stored.ok() && !stored->empty();
}

}  // namespace lfm2
