// Compiles grammars for one model: JSON schema, regular expression or EBNF to token masks. The work
// is done by xgrammar (Dong et al. 2024, "XGrammar: Flexible and Efficient Structured Generation
// Engine for Large Language Models").
//
// Thread rule: const after Make; Compile may run on many threads at once. It takes from
// milliseconds to the time limit, so do not call it on a thread that must not block. Ownership:
// grammars may outlive their compiler.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "base/limits.h"
#include "model/grammar/grammar.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

class GrammarCompiler {
 public:
  // `vocab_size`: rows of the logits, at least the tokenizer's ids that can be generated.
  // `end_ids`: the tokens that end a generation; if empty, see Grammar::has_end. kUnsupported when
  // the library cannot be opened.
  static absl::StatusOr<std::unique_ptr<GrammarCompiler>> Make(const Tokenizer& tokenizer,
                                                               int64_t vocab_size,
                                                               std::span<const int32_t> end_ids);
  ~GrammarCompiler();

  // kGrammarInvalid with what is wrong; kGrammarTooSlow after grammar_compile_ms of CPU time or
  // `most_bytes` of memory. The source must have passed CheckGrammar.
  absl::StatusOr<std::shared_ptr<const Grammar>> Compile(
      const GrammarSource& source, const Limits& limits = kDefaultLimits,
      int64_t most_bytes = kGrammarWorkBytes) const;

 private:
  struct Library;
  GrammarCompiler(std::unique_ptr<Library> library, std::shared_ptr<const TokenGuard> guard,
                  int64_t vocab_size, bool has_end);

  std::unique_ptr<Library> library_;
  std::shared_ptr<const TokenGuard> guard_;
  int64_t vocab_size_;
  bool has_end_;
};

}  // namespace lfm2
