// Chooses a token from logits: greedy, or seeded sampling with the usual truncations. Host
// arithmetic on one row.
//
// Order: logit biases, repetition penalty, frequency and presence penalties, then temperature, then
// top_k, top_p and min_p (on the scaled distribution, each on what the previous one left), then one
// draw. The draw of token i depends only on (seed, i), so server load cannot change it. Thread
// rule: pure functions.
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
  // 0: off; subtracted from a generated token's logit for each time, and once, as in OpenAI's API
  double frequency_penalty = 0.0;
  double presence_penalty = 0.0;
  std::vector<TokenBias> logit_bias;  // each id once
  uint64_t seed = 0;
  // -1: off; n: for the chosen token and the n likeliest; computed from the raw logits
  int64_t logprobs = -1;
  bool operator==(const SamplingParams&) const = default;
};

// Whether a device's own sampler (model/cuda/sample_body.h) gives the same result as SampleToken:
// true when all options are at their defaults, except those that such a sampler is known to
// support. So a new option runs on the host until DeviceKnows names it.
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

// `history`: every token so far, for the penalties; its last `index` tokens are those that this
// sequence has generated. `allowed`: bit i of word i / 32 says whether token i may be chosen; at
// least one must be allowed; empty: all are. Logprobs ignore it: they are those of the raw logits.
Sample SampleToken(std::span<const float> logits, const SamplingParams& params,
                   std::span<const int32_t> history, int64_t index,
                   std::span<const uint32_t> allowed = {});
// log softmax of one entry.
float LogProbability(std::span<const float> logits, int32_t id);

}  // namespace lfm2
