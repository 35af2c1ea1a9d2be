// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/errors.h"
#include "model/grammar/grammar_check.h"
#include "model/grammar/grammar_compiler.h"
#include "model/grammar/grammar_matcher.h"
#include "model/sampling/sampler.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2::testing_support {

using GrammarResult = absl::StatusOr<std::shared_ptr<const Grammar>>;

inline std::unique_ptr<GrammarCompiler> CompilerOf(const Tokenizer& tokenizer) {
  std::vector<int32_t> ends;
  if (tokenizer.eos()) ends.push_back(*tokenizer.eos());
  auto compiler = GrammarCompiler::Make(tokenizer, tokenizer.vocab_size(), ends);
  EXPECT_TRUE(compiler.ok()) << compiler.status();
  return compiler.ok() ? *std::move(compiler) : nullptr;
}

// Checked and compiled, as a request's is.
inline GrammarResult Compile(const GrammarCompiler& compiler, GrammarKind kind, std::string text) {
  const GrammarSource source{kind, std::move(text)};
  if (absl::Status status = CheckGrammar(source, kDefaultLimits); !status.ok()) return status;
  return compiler.Compile(source);
}

struct Text {
  std::string text;
  bool ended = false;
  int64_t tokens = 0;
};

// Tokens of random logits that the grammar lets through.
inline Text RandomText(const Tokenizer& tokenizer, const std::shared_ptr<const Grammar>& grammar,
                       uint64_t seed, int64_t most = 600) {
  Text out;
  auto matcher = GrammarMatcher::Make(grammar);
  EXPECT_TRUE(matcher.ok()) << matcher.status();
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  SamplingParams params;
  params.temperature = seed % 3 == 0 ? 0.0 : 1.0;
  params.seed = seed;
  std::vector<float> logits(static_cast<size_t>(grammar->vocab_size()));
  while (out.tokens < most) {
    if ((*matcher)->finished()) {
      out.ended = true;
      break;
    }
    const auto mask = (*matcher)->NextMask();
    EXPECT_TRUE(mask.ok()) << mask.status() << " after " << out.text;
    if (!mask.ok()) break;
    for (float& logit : logits) logit = normal(random);
    const int32_t id = SampleToken(logits, params, {}, out.tokens, **mask).id;
    EXPECT_TRUE(IsAllowed(**mask, id));
    const absl::Status accepted = (*matcher)->Accept(id);
    EXPECT_TRUE(accepted.ok()) << accepted;
    if (!accepted.ok()) break;
    ++out.tokens;
    out.text += tokenizer.TokenBytes(id, true, out.text.empty());
  }
  return out;
}

}  // namespace lfm2::testing_support
