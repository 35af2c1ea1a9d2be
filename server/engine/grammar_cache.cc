#include "server/engine/grammar_cache.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "server/engine/grammar_pool.h"

namespace lfm2 {
namespace {

using SteadyClock = std::chrono::steady_clock;
using GrammarResult = absl::StatusOr<std::shared_ptr<const Grammar>>;
constexpr int64_t kBusyRetryMs = 1000;

std::string KeyOf(const GrammarSource& source) {
  return std::string(GrammarKindName(source.kind)) + "\n" + source.text;
}

}  // namespace

struct GrammarCache::Tools {
  Mutex mutex;
  std::unique_ptr<GrammarCompiler> compiler LFM2_GUARDED_BY(mutex);

  absl::StatusOr<const GrammarCompiler*> Compiler(const GrammarVocabulary& vocabulary) {
    MutexLock lock(mutex);
    if (compiler == nullptr) {
      LFM2_ASSIGN_OR_RETURN(
          compiler,
          GrammarCompiler::Make(*vocabulary.tokenizer, vocabulary.vocab_size, vocabulary.end_ids));
    }
    return compiler.get();
  }
};

struct GrammarCache::Compile {
  explicit Compile(std::string text) : key(std::move(text)) {}

  const std::string key;
  const SteadyClock::time_point began = SteadyClock::now();
  Mutex mutex;
  CondVar done;
  std::optional<GrammarResult> result LFM2_GUARDED_BY(mutex);

  void Finish(GrammarResult outcome) {
    {
      MutexLock lock(mutex);
      result = std::move(outcome);
    }
    done.NotifyAll();
  }
  bool finished() {
    MutexLock lock(mutex);
    return result.has_value();
  }
  int64_t bytes() {
    MutexLock lock(mutex);
    return result && result->ok() ? (**result)->bytes() + static_cast<int64_t>(key.size()) : 0;
  }
  // nullopt when `limit` after the compile began it is not done.
  std::optional<GrammarResult> WaitFor(std::chrono::milliseconds limit) {
    MutexLock lock(mutex);
    while (!result) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(began + limit - SteadyClock::now());
      if (left.count() <= 0) break;
      done.WaitFor(mutex, left);
    }
    return result;
  }
};

void GrammarCache::Trim(const Limits& limits) {
  int64_t bytes = 0, kept = 0;
  for (auto it = compiles_.begin(); it != compiles_.end();) {
    const bool finished = (*it)->finished();
    const int64_t more = (*it)->bytes();
    const bool fits = kept < limits.grammars_cached && bytes + more <= limits.grammar_cache_bytes;
    const bool failed = finished && more == 0;
    if (finished && (failed || (!fits && kept > 0))) {
      it = compiles_.erase(it);
      continue;
    }
    bytes += more;
    kept += 1;
    ++it;
  }
}

absl::StatusOr<std::shared_ptr<GrammarCache::Compile>> GrammarCache::FindOrStart(
    const GrammarVocabulary& vocabulary, const GrammarSource& source, const Limits& limits) {
  std::string key = KeyOf(source);
  MutexLock lock(mutex_);
  Trim(limits);
  const auto found = std::find_if(compiles_.begin(), compiles_.end(),
                                  [&](const auto& compile) { return compile->key == key; });
  if (found != compiles_.end()) {
    compiles_.splice(compiles_.begin(), compiles_, found);
    return compiles_.front();
  }
  const auto under_way = std::count_if(compiles_.begin(), compiles_.end(),
                                       [](const auto& compile) { return !compile->finished(); });
  const std::string busy = std::to_string(under_way) +
                           " grammars are being compiled, the limit is " +
                           std::to_string(limits.grammar_compiles);
  if (under_way >= limits.grammar_compiles) {
    return RetryLater(Reason::kQueueFull, busy, kBusyRetryMs);
  }
  if (tools_ == nullptr) tools_ = std::make_shared<Tools>();
  auto compile = std::make_shared<Compile>(std::move(key));
  const bool runs = GrammarPool::Shared().Run([compile, source, vocabulary, tools = tools_] {
    const absl::StatusOr<const GrammarCompiler*> compiler = tools->Compiler(vocabulary);
    compile->Finish(compiler.ok() ? (*compiler)->Compile(source)
                                  : GrammarResult(compiler.status()));
  });
  if (!runs)
    return RetryLater(Reason::kQueueFull, "all threads for grammars are busy", kBusyRetryMs);
  compiles_.push_front(compile);
  return compile;
}

GrammarResult GrammarCache::Get(const GrammarVocabulary& vocabulary, const GrammarSource& source,
                                const Limits& limits) {
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<Compile> compile,
                        FindOrStart(vocabulary, source, limits));
  const std::optional<GrammarResult> result =
      compile->WaitFor(std::chrono::milliseconds(limits.grammar_compile_ms));
  if (result) return *result;
  const std::string limit = std::to_string(limits.grammar_compile_ms);
  return Error(
      Reason::kGrammarTooSlow,
      std::string(GrammarKindName(source.kind)) + " took more than " + limit + " ms to compile",
      {{"limit_ms", limit}});
}

}  // namespace lfm2
