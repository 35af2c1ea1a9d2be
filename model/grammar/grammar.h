// A grammar that generated text must follow: its source and its compiled form for one vocabulary.
// grammar_compiler.h compiles it, grammar_matcher.h matches text against it.
//
// Thread rule: const after compiling; may be shared by many threads. Ownership:
// shared_ptr<const Grammar>; each matcher shares it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lfm2 {

enum class GrammarKind { kJsonSchema, kRegex, kEbnf };
const char* GrammarKindName(GrammarKind kind);  // "json_schema", "regex", "ebnf"

struct GrammarSource {
  GrammarKind kind = GrammarKind::kJsonSchema;
  std::string text;
};

// The memory limit for compiling a grammar, and for one step of matching it. The largest useful
// schemas take 45 MiB to compile, for a vocabulary of 49,152 tokens.
inline constexpr int64_t kGrammarWorkBytes = int64_t{64} << 20;

// Bit i of word i / 32 says whether token i may come next.
using TokenMask = std::vector<uint32_t>;
inline size_t MaskWords(int64_t vocab_size) { return static_cast<size_t>((vocab_size + 31) / 32); }
inline bool IsAllowed(const TokenMask& mask, int32_t id) {
  const auto index = static_cast<size_t>(id);
  return (mask[index / 32] >> (index % 32) & 1) != 0;
}

class TokenGuard;

class Grammar {
 public:
  struct Compiled;  // the library's compiled grammar
  Grammar(std::unique_ptr<Compiled> compiled, std::shared_ptr<const TokenGuard> guard,
          int64_t vocab_size, bool has_end);
  ~Grammar();

  const Compiled& compiled() const { return *compiled_; }
  const TokenGuard& guard() const { return *guard_; }
  int64_t vocab_size() const { return vocab_size_; }
  // Whether the vocabulary has an end token. Without one, text ends as soon as it is complete.
  bool has_end() const { return has_end_; }
  int64_t bytes() const { return bytes_; }  // approximate size in memory

 private:
  std::unique_ptr<Compiled> compiled_;
  std::shared_ptr<const TokenGuard> guard_;
  int64_t vocab_size_;
  bool has_end_;
  int64_t bytes_ = 0;
};

}  // namespace lfm2
