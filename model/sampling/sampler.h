// Logits to a token: greedy, or seeded sampling with the usual truncations. Pure host arithmetic on
// one row.
//
// Order: logit biases, repetition penalty, frequency and presence penalties, then temperature,
// top_k, top_p, min_p (on the tempered distribution, each over what the one before it left), then
// one draw. The draw of token i depends on (seed, i) alone, so load cannot change it. Thread rule:
// pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lfm2 {

struct TokenBias {
  int32_t id = 0;
  double bias = 0;
  bool operator==(const TokenBias&) const = default;
};

struct SamplingParams {
  double temperature = 0.0;  // 0: greedy
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;        // 1: off
  double min_p = 0.0;        // 0: off
  // 1: off; over prompt and generated tokens, as transformers defines it
  double repetition_penalty = 1.0;
  // 0: off; taken off a generated token's logit for each time, and once, as OpenAI's API has them
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  std::vector<TokenBias> logit_bias;  // each id once
  uint64_t seed = 0;
  // -1: none; n: the chosen token's and the n likeliest ones'; of the raw logits
  int64_t logprobs = -1;
  bool operator==(const SamplingParams&) const = default;
};

// Whether a device's own sampler (model/cuda/sample_body.h) makes of these what SampleToken does:
// true where every option stands at its default but for those that such a sampler is known to
// follow. So an option that is added here is the host's until it is named there.
bool DeviceKnows(const SamplingParams& params);

struct TokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

struct Sample {
  int32_t id = 0;
  float logprob = 0;              // of the raw logits' softmax; filled when logprobs >= 0
  std::vector<TokenLogprob> top;  // likeliest first
};

// `history`: every token so far, for the penalties; its last `index` are those that this sequence
// has generated. `allowed`: bit i of word i / 32 says whether token i may be chosen, at least one
// of the logits may; empty: all may. Logprobs do not look at it: they are the raw logits'.
Sample SampleToken(std::span<const float> logits, const SamplingParams& params,
                   std::span<const int32_t> history, int64_t index,
                   std::span<const uint32_t> allowed = {});
// log softmax of one entry.
float LogProbability(std::span<const float> logits, int32_t id);

}  // namespace lfm2
