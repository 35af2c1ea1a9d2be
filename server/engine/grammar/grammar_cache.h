// The compiled grammars of one model: each is compiled once and kept; the least recently used one
// is evicted first. A grammar that is too slow or too large fails only the requests that wait for
// it, and is not tried again for a while.
//
// Thread rule: any thread; no call blocks.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/limits.h"
#include "base/mutex.h"
#include "model/grammar/grammar_compiler.h"
#include "server/engine/grammar/grammar_pool.h"

namespace lfm2 {

// The vocabulary for which grammars are compiled; the same in all calls to one cache.
struct GrammarVocabulary {
  std::shared_ptr<const Tokenizer> tokenizer;
  int64_t vocab_size = 0;  // rows of the logits
  std::vector<int32_t> end_ids;
};

class GrammarCache {
 public:
  using Result = absl::StatusOr<std::shared_ptr<const Grammar>>;
  using Then = std::function<void(const Result&)>;
  // Compiles a grammar; tests use a fake.
  using Compiler = std::function<Result(const GrammarVocabulary& vocabulary,
                                        const GrammarSource& source, const Limits& limits)>;

  struct Options {
    std::chrono::milliseconds wait{10'000};     // how long a request waits for its grammar
    std::chrono::milliseconds refusal{60'000};  // how long a too slow one is not tried again
    int64_t compiles_per_caller = 4;  // running or waiting, for callers with a bearer token
  };

  GrammarCache();
  GrammarCache(const Options& options, Compiler compiler, GrammarPool& pool);

  // Calls `then` once: immediately if the grammar is known, else from a thread of the pool, where
  // it must be short. kGrammarInvalid, kGrammarTooSlow; kUnsupported without the library.
  // kQueueFull with a retry delay if the limit on open compiles, in total or of this caller, is
  // reached, or if the compile is still waiting behind others after Options::wait. Caller "" is one
  // without a bearer token.
  void Get(const GrammarVocabulary& vocabulary, const GrammarSource& source, const Limits& limits,
           std::string_view caller, Then then) LFM2_EXCLUDES(mutex_);

 private:
  struct Compile;
  absl::StatusOr<std::shared_ptr<Compile>> FindOrStart(const GrammarVocabulary& vocabulary,
                                                       const GrammarSource& source,
                                                       const Limits& limits,
                                                       std::string_view caller)
      LFM2_EXCLUDES(mutex_);
  absl::Status CheckRoom(const Limits& limits, std::string_view caller) LFM2_REQUIRES(mutex_);
  void Trim(const Limits& limits) LFM2_REQUIRES(mutex_);

  const Options options_;
  const std::shared_ptr<const Compiler> compiler_;
  GrammarPool& pool_;
  Mutex mutex_;
  std::list<std::shared_ptr<Compile>> compiles_ LFM2_GUARDED_BY(mutex_);  // latest used first
};

}  // namespace lfm2
