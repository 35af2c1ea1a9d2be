#include "server/engine/model_pool.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "model/core/errors.h"
#include "model/core/status_macros.h"

namespace lfm2 {
namespace {
constexpr int64_t kPoolRetryMs = 2000;
}  // namespace

// Members are guarded by the pool's mutex.
struct ModelPool::Entry {
  std::string name;
  std::string version;
  std::shared_ptr<LoadedModel> model;  // null while it loads, and when that failed
  absl::Status failure;
  bool loading = true;
  int64_t waiting = 0;  // callers that wait for the load: it must not go before they have it

  bool idle() const { return !loading && waiting == 0 && model.use_count() == 1; }
};

ModelPool::ModelPool(ModelStore& store, ModelLoader loader, int64_t capacity)
    : store_(store), loader_(std::move(loader)), capacity_(capacity) {}

absl::StatusOr<std::shared_ptr<LoadedModel>> ModelPool::Acquire(const std::string& reference) {
  LFM2_ASSIGN_OR_RETURN(const ModelVersion version, store_.Resolve(reference));
  std::shared_ptr<LoadedModel>
      evicted;  // freed without the lock, and before the load that needs its memory
  std::shared_ptr<Entry> entry;
  {
    MutexLock lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& candidate) {
      return candidate->name == version.name && candidate->version == version.version;
    });
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
      entry = entries_.front();
      ++entry->waiting;
      while (entry->loading) loaded_.Wait(mutex_);
      --entry->waiting;
      if (!entry->failure.ok()) return entry->failure;
      return entry->model;
    }
    if (static_cast<int64_t>(entries_.size()) >= capacity_) {
      const auto oldest_idle =
          std::find_if(entries_.rbegin(), entries_.rend(),
                       [](const auto& candidate) { return candidate->idle(); });
      if (oldest_idle == entries_.rend()) {
        return RetryLater(
            Reason::kModelLoading,
            "all " + std::to_string(capacity_) + " places for loaded models are in use",
            kPoolRetryMs);
      }
      evicted = std::move((*oldest_idle)->model);
      entries_.erase(std::prev(oldest_idle.base()));
    }
    entry = std::make_shared<Entry>();
    entry->name = version.name;
    entry->version = version.version;
    entries_.push_front(entry);
  }
  evicted.reset();
  return Load(version, entry);
}

absl::StatusOr<std::shared_ptr<LoadedModel>> ModelPool::Load(const ModelVersion& version,
                                                             const std::shared_ptr<Entry>& entry) {
  absl::StatusOr<std::shared_ptr<LoadedModel>> model = loader_(version);
  {
    MutexLock lock(mutex_);
    entry->loading = false;
    if (model.ok()) {
      entry->model = *model;
    } else {
      entry->failure = model.status();
      entries_.remove(entry);
    }
  }
  loaded_.NotifyAll();
  return model;
}

std::shared_ptr<LoadedModel> ModelPool::Find(const std::string& name,
                                             const std::string& version) const {
  MutexLock lock(mutex_);
  for (const auto& entry : entries_) {
    if (entry->name == name && entry->version == version) return entry->model;
  }
  return nullptr;
}

}  // namespace lfm2
