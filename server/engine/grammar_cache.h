// The grammars of one model that were asked for, compiled once and kept: the least recently used
// one goes first. A compile that takes too long fails whoever waits for it and nobody else.
//
// Thread rule: any thread but the engine's: Get waits for a compile, at most grammar_compile_ms.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/core/limits.h"
#include "model/grammar/grammar_compiler.h"
#include "server/base/mutex.h"

namespace lfm2 {

// What a grammar is compiled for; the same at every call of one cache.
struct GrammarVocabulary {
  std::shared_ptr<const Tokenizer> tokenizer;
  int64_t vocab_size = 0;  // rows of the logits
  std::vector<int32_t> end_ids;
};

class GrammarCache {
 public:
  // kGrammarInvalid, kGrammarTooSlow; kQueueFull with a retry delay when as many compiles as may
  // are under way; kUnsupported without the library.
  absl::StatusOr<std::shared_ptr<const Grammar>> Get(const GrammarVocabulary& vocabulary,
                                                     const GrammarSource& source,
                                                     const Limits& limits) LFM2_EXCLUDES(mutex_);

 private:
  struct Compile;
  struct Tools;  // the compiler, made by the first compile
  absl::StatusOr<std::shared_ptr<Compile>> FindOrStart(const GrammarVocabulary& vocabulary,
                                                       const GrammarSource& source,
                                                       const Limits& limits) LFM2_EXCLUDES(mutex_);
  void Trim(const Limits& limits) LFM2_REQUIRES(mutex_);

  Mutex mutex_;
  std::list<std::shared_ptr<Compile>> compiles_ LFM2_GUARDED_BY(mutex_);  // latest used first
  std::shared_ptr<Tools> tools_ LFM2_GUARDED_BY(mutex_);
};

}  // namespace lfm2
