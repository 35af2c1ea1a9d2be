// Any bytes as a grammar: refused, or compiled within its limits, and then every token that it
// allows is accepted and can be taken back.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "model/grammar/grammar_check.h"
#include "model/grammar/grammar_compiler.h"
#include "model/grammar/grammar_matcher.h"
#include "tests/fuzz/tiny_tokenizer.h"

namespace lfm2 {
namespace {

constexpr int kSteps = 12;

void Require(bool good, const absl::Status& status) {
  if (good) return;
  std::cerr << status << "\n";
  std::abort();
}

const GrammarCompiler& Compiler() {
  static const auto* const kCompiler = [] {
    const auto tokenizer = MakeTinyTokenizer();
    const int32_t end = 3;
    auto compiler = GrammarCompiler::Make(*tokenizer, tokenizer->vocab_size(), {&end, 1});
    Require(compiler.ok(), compiler.status());
    return compiler->release();
  }();
  return *kCompiler;
}

// The `choice`-th of the allowed, counted round; -1 when there is none.
int32_t Choose(const TokenMask& mask, int64_t vocab_size, uint8_t choice) {
  std::vector<int32_t> allowed;
  for (int32_t id = 0; id < vocab_size; ++id) {
    if (IsAllowed(mask, id)) allowed.push_back(id);
  }
  return allowed.empty() ? -1 : allowed[choice % allowed.size()];
}

void Walk(const std::shared_ptr<const Grammar>& grammar, std::string_view choices) {
  auto made = GrammarMatcher::Make(grammar);
  if (!made.ok()) return;
  GrammarMatcher& matcher = **made;
  for (int step = 0; step < kSteps && !matcher.finished(); ++step) {
    const auto choice = static_cast<uint8_t>(choices[static_cast<size_t>(step) % choices.size()]);
    const auto mask = matcher.NextMask();
    if (!mask.ok()) return;
    const int32_t id = Choose(**mask, grammar->vocab_size(), choice);
    if (id < 0) std::abort();
    absl::Status status = matcher.Accept(id);
    Require(status.ok(), status);
    if (choice % 8 == 0) {
      status = matcher.Rollback(choice % (matcher.accepted() + 1));
      Require(status.ok(), status);
    }
  }
}

}  // namespace
}  // namespace lfm2

// The first byte chooses the kind.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lfm2;
  if (size < 2) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const GrammarSource source{static_cast<GrammarKind>(data[0] % 3), std::string(all.substr(1))};
  Limits limits;
  limits.grammar_compile_ms = 100;
  if (!CheckGrammar(source, limits).ok()) return 0;
  const auto grammar = Compiler().Compile(source, limits);
  if (grammar.ok()) Walk(*grammar, all);
  return 0;
}
