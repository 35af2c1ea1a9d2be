#include "server/engine/model_pool.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "base/errors.h"
#include "server/engine/guarded.h"

namespace lfm2 {
namespace {
constexpr int64_t kPoolRetryMs = 2000;
}  // namespace

// Members are guarded by the pool's mutex.
struct ModelPool::Entry {
  std::string name;
  std::string version;
  std::shared_ptr<LoadedModel> model;  // null while it loads
  std::vector<Ready> waiting;          // for the load

  bool idle() const { return model != nullptr && model.use_count() == 1; }
};

ModelPool::ModelPool(ModelStore& store, ModelLoader loader, int64_t capacity)
    : store_(store), loader_(std::move(loader)), capacity_(capacity) {}

absl::Status ModelPool::MakeRoom(std::shared_ptr<LoadedModel>& evicted) {
  if (static_cast<int64_t>(entries_.size()) < capacity_) return absl::OkStatus();
  const auto oldest_idle = std::find_if(entries_.rbegin(), entries_.rend(),
                                        [](const auto& candidate) { return candidate->idle(); });
  if (oldest_idle == entries_.rend()) {
    return RetryLater(Reason::kModelLoading,
                      "all " + std::to_string(capacity_) + " places for loaded models are in use",
                      kPoolRetryMs);
  }
  evicted = std::move((*oldest_idle)->model);
  entries_.erase(std::prev(oldest_idle.base()));
  return absl::OkStatus();
}

std::optional<ModelPool::Acquired> ModelPool::Acquire(const std::string& reference, Executor& loads,
                                                      Ready ready) {
  const absl::StatusOr<ModelVersion> version = store_.Resolve(reference);
  if (!version.ok()) return version.status();
  // Freed without holding the lock, and before the load that needs its memory.
  std::shared_ptr<LoadedModel> evicted;
  std::shared_ptr<Entry> entry;
  {
    MutexLock lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& candidate) {
      return candidate->name == version->name && candidate->version == version->version;
    });
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
      entry = entries_.front();
      if (entry->model != nullptr) return entry->model;
      entry->waiting.push_back(std::move(ready));
      return std::nullopt;
    }
    if (absl::Status room = MakeRoom(evicted); !room.ok()) return room;
    entry = std::make_shared<Entry>();
    entry->name = version->name;
    entry->version = version->version;
    entry->waiting.push_back(std::move(ready));
    entries_.push_front(entry);
  }
  evicted.reset();
  const absl::Status queued =
      loads.Run([this, version = *version, entry] { Load(version, entry); });
  if (!queued.ok()) {
    Conclude(entry,
             RetryLater(Reason::kModelLoading, "too many models wait to be loaded", kPoolRetryMs));
  }
  return std::nullopt;
}

void ModelPool::Load(const ModelVersion& version, const std::shared_ptr<Entry>& entry) {
  Acquired model = std::shared_ptr<LoadedModel>();
  const absl::Status thrown = Guarded("the load of a model", [&] {
    model = loader_(version);
    return absl::OkStatus();
  });
  Conclude(entry, thrown.ok() ? std::move(model) : Acquired(thrown));
}

// `result` holds the model until all waiting callers have it.
void ModelPool::Conclude(const std::shared_ptr<Entry>& entry, const Acquired& result) {
  std::vector<Ready> waiting;
  {
    MutexLock lock(mutex_);
    waiting.swap(entry->waiting);
    if (result.ok()) {
      entry->model = *result;
    } else {
      entries_.remove(entry);
    }
  }
  for (const Ready& ready : waiting) ready(result);
}

void ModelPool::AcquireThen(const std::string& reference, Executor& loads, const Resume& resume,
                            const Ready& then) {
  const std::optional<Acquired> known =
      Acquire(reference, loads,
              [resume, then](const Acquired& loaded) { resume([then, loaded] { then(loaded); }); });
  if (known) then(*known);
}

std::shared_ptr<LoadedModel> ModelPool::Find(const std::string& name,
                                             const std::string& version) const {
  MutexLock lock(mutex_);
  for (const auto& entry : entries_) {
    if (entry->name == name && entry->version == version) return entry->model;
  }
  return nullptr;
}

std::vector<std::shared_ptr<LoadedModel>> ModelPool::Loaded() const {
  std::vector<std::shared_ptr<LoadedModel>> models;
  MutexLock lock(mutex_);
  for (const auto& entry : entries_) {
    if (entry->model != nullptr) models.push_back(entry->model);
  }
  return models;
}

}  // namespace lfm2
