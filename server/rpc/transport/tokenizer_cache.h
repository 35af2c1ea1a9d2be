// Tokenizers of models that may not be loaded, since Tokenize and Detokenize need no weights. Keeps
// the most recent few. Thread rule: any thread except the engine's (reading one may take a second).
#pragma once

#include <list>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/model_pool.h"
#include "server/store/model_store.h"

namespace lfm2 {

class TokenizerCache {
 public:
  explicit TokenizerCache(ModelPool& pool) : pool_(pool) {}
  // Null when the tokenizer is not in memory.
  std::shared_ptr<const Tokenizer> Find(const ModelVersion& version) LFM2_EXCLUDES(mutex_);
  // The tokenizer with which the model is, or would be, served.
  absl::StatusOr<std::shared_ptr<const Tokenizer>> Get(const ModelVersion& version)
      LFM2_EXCLUDES(mutex_);

 private:
  struct Entry {
    std::string name, version;
    std::shared_ptr<const Tokenizer> tokenizer;
  };
  ModelPool& pool_;
  Mutex mutex_;
  std::list<Entry> entries_ LFM2_GUARDED_BY(mutex_);  // most recently used first
};

}  // namespace lfm2
