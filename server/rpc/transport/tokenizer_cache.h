// Tokenizers of models that need not be loaded: Tokenize and Detokenize touch no weights. The last
// few are kept. Thread rule: any thread but the engine's (a tokenizer may take a second to read).
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
  // Null when it would have to be read.
  std::shared_ptr<const Tokenizer> Find(const ModelVersion& version) LFM2_EXCLUDES(mutex_);
  // The one the model is (or would be) served with.
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
