#include "server/engine/grammar/grammar_cache.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

using SteadyClock = std::chrono::steady_clock;
constexpr int64_t kBusyRetryMs = 1000;

std::string KeyOf(const GrammarSource& source) {
  return std::string(GrammarKindName(source.kind)) + "\n" + source.text;
}

// The library's compiler for one vocabulary, created at the first compile.
class LibraryCompiler {
 public:
  GrammarCache::Result Compile(const GrammarVocabulary& vocabulary, const GrammarSource& source,
                               const Limits& limits) LFM2_EXCLUDES(mutex_) {
    LFM2_ASSIGN_OR_RETURN(const GrammarCompiler* const compiler, Made(vocabulary));
    return compiler->Compile(source, limits);
  }

 private:
  absl::StatusOr<const GrammarCompiler*> Made(const GrammarVocabulary& vocabulary)
      LFM2_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (compiler_ == nullptr) {
      LFM2_ASSIGN_OR_RETURN(
          compiler_,
          GrammarCompiler::Make(*vocabulary.tokenizer, vocabulary.vocab_size, vocabulary.end_ids));
    }
    return compiler_.get();
  }

  Mutex mutex_;
  std::unique_ptr<GrammarCompiler> compiler_ LFM2_GUARDED_BY(mutex_);
};

GrammarCache::Compiler OfLibrary() {
  return [library = std::make_shared<LibraryCompiler>()](
             const GrammarVocabulary& vocabulary, const GrammarSource& source,
             const Limits& limits) { return library->Compile(vocabulary, source, limits); };
}

// A caller that waits for the compile or for its timeout, whichever comes first.
class Waiter {
 public:
  explicit Waiter(GrammarCache::Then then) : then_(std::move(then)) {}
  void Call(const GrammarCache::Result& result) LFM2_EXCLUDES(mutex_) {
    GrammarCache::Then then;
    {
      MutexLock lock(mutex_);
      then.swap(then_);
    }
    if (then) then(result);
  }

 private:
  Mutex mutex_;
  GrammarCache::Then then_ LFM2_GUARDED_BY(mutex_);
};

}  // namespace

struct GrammarCache::Compile {
  Compile(std::string text, std::string_view asked_by) : key(std::move(text)), caller(asked_by) {}

  const std::string key;
  const std::string caller;
  Mutex mutex;
  std::optional<Result> result LFM2_GUARDED_BY(mutex);
  SteadyClock::time_point finished_at LFM2_GUARDED_BY(mutex);
  std::vector<std::shared_ptr<Waiter>> waiters LFM2_GUARDED_BY(mutex);

  void Finish(const Result& outcome) LFM2_EXCLUDES(mutex) {
    std::vector<std::shared_ptr<Waiter>> waiting;
    {
      MutexLock lock(mutex);
      result = outcome;
      finished_at = SteadyClock::now();
      waiting.swap(waiters);
    }
    for (const auto& waiter : waiting) waiter->Call(outcome);
  }
  // Returns the result, or nullopt; the waiter is then notified later.
  std::optional<Result> ResultOrWait(const std::shared_ptr<Waiter>& waiter) LFM2_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    if (!result) waiters.push_back(waiter);
    return result;
  }
  bool finished() LFM2_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    return result.has_value();
  }
  int64_t bytes() LFM2_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    const int64_t grammar = result && result->ok() ? (**result)->bytes() : 0;
    return grammar + static_cast<int64_t>(key.size());
  }
  // True if later requests should get this compile's result instead of starting a new one.
  bool worth_keeping(std::chrono::milliseconds refusal) LFM2_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    if (!result || result->ok()) return true;
    return DetailsOf(result->status()).reason == Reason::kGrammarTooSlow &&
           SteadyClock::now() - finished_at < refusal;
  }
};

GrammarCache::GrammarCache() : GrammarCache(Options(), OfLibrary(), GrammarPool::Compiles()) {}

GrammarCache::GrammarCache(const Options& options, Compiler compiler, GrammarPool& pool)
    : options_(options),
      compiler_(std::make_shared<const Compiler>(std::move(compiler))),
      pool_(pool) {}

void GrammarCache::Trim(const Limits& limits) {
  int64_t bytes = 0, kept = 0;
  for (auto it = compiles_.begin(); it != compiles_.end();) {
    const int64_t more = (*it)->bytes();
    const bool fits = kept < limits.grammars_cached && bytes + more <= limits.grammar_cache_bytes;
    const bool failed = !(*it)->worth_keeping(options_.refusal);
    if ((*it)->finished() && (failed || (!fits && kept > 0))) {
      it = compiles_.erase(it);
      continue;
    }
    bytes += more;
    kept += 1;
    ++it;
  }
}

absl::Status GrammarCache::CheckRoom(const Limits& limits, std::string_view caller) {
  int64_t all = 0, callers = 0;
  for (const auto& compile : compiles_) {
    if (compile->finished()) continue;
    ++all;
    callers += compile->caller == caller ? 1 : 0;
  }
  const bool full = all >= limits.grammar_compiles;
  if (!full && (caller.empty() || callers < options_.compiles_per_caller)) {
    return absl::OkStatus();
  }
  return RetryLater(
      Reason::kQueueFull,
      std::to_string(full ? all : callers) + " grammars" + (full ? "" : " of this caller") +
          " are being compiled; the limit is " +
          std::to_string(full ? limits.grammar_compiles : options_.compiles_per_caller),
      kBusyRetryMs);
}

absl::StatusOr<std::shared_ptr<GrammarCache::Compile>> GrammarCache::FindOrStart(
    const GrammarVocabulary& vocabulary, const GrammarSource& source, const Limits& limits,
    std::string_view caller) {
  std::string key = KeyOf(source);
  MutexLock lock(mutex_);
  Trim(limits);
  const auto found = std::find_if(compiles_.begin(), compiles_.end(),
                                  [&](const auto& compile) { return compile->key == key; });
  if (found != compiles_.end()) {
    compiles_.splice(compiles_.begin(), compiles_, found);
    return compiles_.front();
  }
  LFM2_RETURN_IF_ERROR(CheckRoom(limits, caller));
  auto compile = std::make_shared<Compile>(std::move(key), caller);
  const bool runs = pool_.Run(
      [compile, source, vocabulary, limits, compiler = compiler_] {
        compile->Finish((*compiler)(vocabulary, source, limits));
      },
      caller);
  if (!runs) {
    return RetryLater(Reason::kQueueFull, "all threads for grammars are busy", kBusyRetryMs);
  }
  compiles_.push_front(compile);
  return compile;
}

void GrammarCache::Get(const GrammarVocabulary& vocabulary, const GrammarSource& source,
                       const Limits& limits, std::string_view caller, Then then) {
  const auto compile = FindOrStart(vocabulary, source, limits, caller);
  if (!compile.ok()) return then(compile.status());
  const auto waiter = std::make_shared<Waiter>(std::move(then));
  if (const std::optional<Result> known = (*compile)->ResultOrWait(waiter)) {
    return waiter->Call(*known);
  }
  pool_.After(options_.wait, [waiter, waited = std::to_string(options_.wait.count())] {
    waiter->Call(RetryLater(
        Reason::kQueueFull,
        "the grammar was not compiled within " + waited + " ms, because other work was ahead of it",
        kBusyRetryMs));
  });
}

}  // namespace lfm2
