// The models in memory: loaded at their first use, at most `capacity`, the least recently used idle
// one goes first. Concurrent callers of the same name wait for one load. Thread rule: any thread
// but the engine's (a load takes seconds).
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/engine/loaded_model.h"

namespace lfm2 {

class ModelPool {
 public:
  ModelPool(ModelStore& store, ModelLoader loader, int64_t capacity);

  // `reference` as in the protocol's ModelRef. Errors of ModelStore::Resolve and of the loader;
  // kModelLoading with a retry delay when capacity models are all in use.
  absl::StatusOr<std::shared_ptr<LoadedModel>> Acquire(const std::string& reference);
  // Loaded or not, without loading.
  std::shared_ptr<LoadedModel> Find(const std::string& name, const std::string& version) const;

 private:
  struct Entry;
  absl::StatusOr<std::shared_ptr<LoadedModel>> Load(const ModelVersion& version,
                                                    const std::shared_ptr<Entry>& entry);

  ModelStore& store_;
  const ModelLoader loader_;
  const int64_t capacity_;
  mutable Mutex mutex_;
  CondVar loaded_;
  std::list<std::shared_ptr<Entry>> entries_ LFM2_GUARDED_BY(mutex_);  // most recently used first
};

}  // namespace lfm2
