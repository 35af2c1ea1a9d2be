#include "server/rpc/transport/tokenizer_cache.h"

#include <algorithm>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "server/engine/model_tokenizer.h"

namespace lfm2 {
namespace {

constexpr size_t kKept = 4;

absl::StatusOr<std::shared_ptr<const Tokenizer>> Read(const ModelVersion& version) {
  LFM2_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(version.directory));
  absl::StatusOr<std::shared_ptr<const Tokenizer>> own =
      TokenizerForModel(version.directory, config.vocab_size);
  const bool has_none = !own.ok() && DetailsOf(own.status()).reason == Reason::kFileNotFound;
  return has_none ? TokenizerForModel({}, config.vocab_size) : own;
}

}  // namespace

std::shared_ptr<const Tokenizer> TokenizerCache::Find(const ModelVersion& version) {
  if (const auto loaded = pool_.Find(version.name, version.version)) return loaded->tokenizer;
  MutexLock lock(mutex_);
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.name == version.name && entry.version == version.version;
  });
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return entries_.front().tokenizer;
}

absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerCache::Get(const ModelVersion& version) {
  if (auto known = Find(version)) return known;
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer, Read(version));
  MutexLock lock(mutex_);
  entries_.push_front({version.name, version.version, tokenizer});
  if (entries_.size() > kKept) entries_.pop_back();
  return tokenizer;
}

}  // namespace lfm2
