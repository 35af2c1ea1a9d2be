// The models in memory: loaded at their first use, at most `capacity`, the least recently used idle
// one goes first. Whoever asks for a model that is being loaded is called when it is there; nobody
// waits on a thread. Thread rule: any thread but the engine's (a name is looked up on disk).
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/executor.h"
#include "base/mutex.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

class ModelPool {
 public:
  using Acquired = absl::StatusOr<std::shared_ptr<LoadedModel>>;
  using Ready = std::function<void(const Acquired&)>;
  // Takes work to where its caller's work runs, and keeps alive what the work needs.
  using Resume = std::function<void(std::function<void()> work)>;

  ModelPool(ModelStore& store, ModelLoader loader, int64_t capacity);

  // `reference` as in the protocol's ModelRef. What is known now: the model, an error of
  // ModelStore::Resolve, kModelLoading with a retry delay when capacity models are all in use or
  // too many loads wait. Nullopt: it is being loaded by `loads`, which later calls `ready` once,
  // with the model or the loader's error. The pool outlives what `loads` does.
  std::optional<Acquired> Acquire(const std::string& reference, Executor& loads, Ready ready);
  // The same for work that must not go on upon a loader's thread: `then` is called once, now where
  // that is known, else in the work that `resume` is given after the load.
  void AcquireThen(const std::string& reference, Executor& loads, const Resume& resume,
                   const Ready& then);
  // Loaded or not, without loading.
  std::shared_ptr<LoadedModel> Find(const std::string& name, const std::string& version) const;
  // Most recently used first.
  std::vector<std::shared_ptr<LoadedModel>> Loaded() const;

 private:
  struct Entry;
  absl::Status MakeRoom(std::shared_ptr<LoadedModel>& evicted) LFM2_REQUIRES(mutex_);
  void Load(const ModelVersion& version, const std::shared_ptr<Entry>& entry);
  void Conclude(const std::shared_ptr<Entry>& entry, const Acquired& result) LFM2_EXCLUDES(mutex_);

  ModelStore& store_;
  const ModelLoader loader_;
  const int64_t capacity_;
  mutable Mutex mutex_;
  std::list<std::shared_ptr<Entry>> entries_ LFM2_GUARDED_BY(mutex_);  // most recently used first
};

}  // namespace lfm2
