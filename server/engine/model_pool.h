// The models in memory: loaded at their first use, at most `capacity`; the least recently used idle
// one is evicted first. A caller that asks for a model which is being loaded is called back after
// the load; no thread waits. Thread rule: any thread except the engine's, because names are looked
// up on disk.
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
  // Runs work where its caller's work runs, and keeps alive what the work needs.
  using Resume = std::function<void(std::function<void()> work)>;

  ModelPool(ModelStore& store, ModelLoader loader, int64_t capacity);

  // `reference` as in the protocol's ModelRef. Returns the model; or an error of
  // ModelStore::Resolve; or kModelLoading with a retry delay if `capacity` models are in use or too
  // many loads wait. Nullopt: `loads` is loading the model and later calls `ready` once, with the
  // model or the loader's error. The pool must outlive the work on `loads`.
  std::optional<Acquired> Acquire(const std::string& reference, Executor& loads, Ready ready);
  // The same for work that must not run on a loader's thread: `then` is called once, immediately if
  // the result is known, else in work that is passed to `resume` after the load.
  void AcquireThen(const std::string& reference, Executor& loads, const Resume& resume,
                   const Ready& then);
  // The model if it is in memory, else null; never loads it.
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
