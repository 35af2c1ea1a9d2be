#include "model/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

namespace lfm2 {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
// how many of the likeliest tokens top_p sorts first
constexpr size_t kFirstNucleus = 64;

struct Candidate {
  int32_t id;
  double score;
};

// A total order: ties go to the lowest id, so the result does not depend on the sort algorithm.
bool Likelier(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

// NaN gets probability 0. The caller detects and reports it; here it only must not affect other
// scores.
double ScoreOf(float logit) { return std::isnan(logit) ? kNever : static_cast<double>(logit); }

std::vector<Candidate> CandidatesOf(std::span<const float> logits) {
  std::vector<Candidate> out(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) out[i] = {static_cast<int32_t>(i), ScoreOf(logits[i])};
  return out;
}

// Keskar et al. 2019 (CTRL), once per distinct token: a positive score is divided, a negative one
// multiplied.
void Penalize(std::vector<Candidate>& candidates, std::span<const int32_t> history,
              double penalty) {
  std::unordered_set<int32_t> seen;
  for (const int32_t id : history) {
    if (id < 0 || static_cast<size_t>(id) >= candidates.size() || !seen.insert(id).second) continue;
    double& score = candidates[static_cast<size_t>(id)].score;
    score = score > 0 ? score / penalty : score * penalty;
  }
}

void SubtractPenalties(std::vector<Candidate>& candidates, const SamplingParams& params,
                       std::span<const int32_t> generated) {
  std::unordered_map<int32_t, int64_t> times;
  for (const int32_t id : generated) ++times[id];
  for (const auto& [id, count] : times) {
    if (id < 0 || static_cast<size_t>(id) >= candidates.size()) continue;
    candidates[static_cast<size_t>(id)].score -=
        params.frequency_penalty * static_cast<double>(count) + params.presence_penalty;
  }
}

void AddBiases(std::vector<Candidate>& candidates, const std::vector<TokenBias>& biases) {
  for (const TokenBias& one : biases) {
    if (one.id < 0 || static_cast<size_t>(one.id) >= candidates.size()) continue;
    candidates[static_cast<size_t>(one.id)].score += one.bias;
  }
}

double HighestScore(const std::vector<Candidate>& candidates) {
  double highest = kNever;
  for (const Candidate& candidate : candidates) highest = std::max(highest, candidate.score);
  return highest;
}

// Softmax weight before normalisation. If the highest score is infinite, only the tokens that have
// it keep a weight.
double WeightOf(double score, double highest) {
  return score == highest ? 1.0 : std::exp(score - highest);
}

double TotalWeight(const std::vector<Candidate>& candidates, double highest) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += WeightOf(candidate.score, highest);
  return total;
}

void KeepLikeliest(std::vector<Candidate>& candidates, int64_t count) {
  if (count <= 0 || static_cast<size_t>(count) >= candidates.size()) return;
  std::nth_element(candidates.begin(), candidates.begin() + count, candidates.end(), Likelier);
  candidates.resize(static_cast<size_t>(count));
}

// The smallest set of the likeliest tokens whose probability reaches top_p (Holtzman et al. 2020).
// Sorts only a constant factor more tokens than it keeps.
void KeepNucleus(std::vector<Candidate>& candidates, double top_p) {
  if (top_p >= 1 || candidates.empty()) return;
  const double highest = HighestScore(candidates);
  const double wanted = top_p * TotalWeight(candidates, highest);
  double reached = 0;
  size_t sorted = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i == sorted) {
      sorted = std::min(candidates.size(), std::max(kFirstNucleus, 4 * sorted));
      std::partial_sort(candidates.begin() + static_cast<std::ptrdiff_t>(i),
                        candidates.begin() + static_cast<std::ptrdiff_t>(sorted), candidates.end(),
                        Likelier);
    }
    reached += WeightOf(candidates[i].score, highest);
    if (reached >= wanted) {
      candidates.resize(i + 1);
      return;
    }
  }
}

void KeepAtLeast(std::vector<Candidate>& candidates, double min_p) {
  if (min_p <= 0) return;
  const double highest = HighestScore(candidates);
  std::erase_if(candidates, [&](const Candidate& candidate) {
    return WeightOf(candidate.score, highest) < min_p && candidate.score != highest;
  });
}

uint64_t SplitMix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// Uniform in [0, 1), a function of its arguments alone. The seed is hashed first, so that similar
// seeds give unrelated streams.
double UniformAt(uint64_t seed, int64_t index) {
  const uint64_t bits = SplitMix64(SplitMix64(seed) ^ static_cast<uint64_t>(index));
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

int32_t Draw(std::vector<Candidate>& candidates, double uniform) {
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  const double highest = HighestScore(candidates);
  const double target = uniform * TotalWeight(candidates, highest);
  double reached = 0;
  int32_t last = candidates.front().id;
  for (const Candidate& candidate : candidates) {
    const double weight = WeightOf(candidate.score, highest);
    if (weight <= 0) continue;
    reached += weight;
    last = candidate.id;
    if (target < reached) break;
  }
  return last;
}

bool MayBeChosen(std::span<const uint32_t> allowed, size_t id) {
  if (allowed.empty()) return true;
  return id / 32 < allowed.size() && (allowed[id / 32] >> (id % 32) & 1) != 0;
}

int32_t Greedy(std::span<const float> logits, std::span<const uint32_t> allowed) {
  size_t best = 0;
  while (best + 1 < logits.size() && !MayBeChosen(allowed, best)) ++best;
  for (size_t i = best + 1; i < logits.size(); ++i) {
    if (ScoreOf(logits[i]) > ScoreOf(logits[best]) && MayBeChosen(allowed, i)) best = i;
  }
  return static_cast<int32_t>(best);
}

void KeepAllowed(std::vector<Candidate>& candidates, std::span<const uint32_t> allowed) {
  if (allowed.empty()) return;
  std::erase_if(candidates, [&](const Candidate& candidate) {
    return !MayBeChosen(allowed, static_cast<size_t>(candidate.id));
  });
}

bool AdjustsLogits(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.frequency_penalty != 0 ||
         params.presence_penalty != 0 || !params.logit_bias.empty();
}

int32_t Choose(std::span<const float> logits, const SamplingParams& params,
               std::span<const int32_t> history, int64_t index, std::span<const uint32_t> allowed) {
  const bool greedy = params.temperature <= 0;
  if (greedy && !AdjustsLogits(params)) return Greedy(logits, allowed);
  std::vector<Candidate> candidates = CandidatesOf(logits);
  AddBiases(candidates, params.logit_bias);
  if (params.repetition_penalty != 1) Penalize(candidates, history, params.repetition_penalty);
  if (params.frequency_penalty != 0 || params.presence_penalty != 0) {
    const auto generated =
        std::min(history.size(), static_cast<size_t>(std::max<int64_t>(index, 0)));
    SubtractPenalties(candidates, params, history.last(generated));
  }
  KeepAllowed(candidates, allowed);
  if (greedy) return std::min_element(candidates.begin(), candidates.end(), Likelier)->id;
  for (Candidate& candidate : candidates) candidate.score /= params.temperature;
  KeepLikeliest(candidates, params.top_k);
  KeepNucleus(candidates, params.top_p);
  KeepAtLeast(candidates, params.min_p);
  return Draw(candidates, UniformAt(params.seed, index));
}

double LogTotal(std::span<const float> logits, double highest) {
  double total = 0;
  for (const float logit : logits) total += WeightOf(ScoreOf(logit), highest);
  return std::log(total);
}

double HighestLogit(std::span<const float> logits) {
  double highest = kNever;
  for (const float logit : logits) highest = std::max(highest, ScoreOf(logit));
  return highest;
}

// log of WeightOf, over the total.
float LogShare(double score, double highest, double log_total) {
  return static_cast<float>((score == highest ? 0.0 : score - highest) - log_total);
}

void FillLogprobs(std::span<const float> logits, int64_t count, Sample& sample) {
  const double highest = HighestLogit(logits);
  const double log_total = LogTotal(logits, highest);
  sample.logprob = LogShare(ScoreOf(logits[static_cast<size_t>(sample.id)]), highest, log_total);
  if (count == 0) return;
  std::vector<Candidate> candidates = CandidatesOf(logits);
  const auto kept = std::min(static_cast<size_t>(count), candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(kept),
                    candidates.end(), Likelier);
  for (size_t i = 0; i < kept; ++i) {
    sample.top.push_back({candidates[i].id, LogShare(candidates[i].score, highest, log_total)});
  }
}

}  // namespace

bool DeviceKnows(const SamplingParams& params) {
  const SamplingParams defaults;
  SamplingParams rest = params;
  rest.temperature = defaults.temperature;
  rest.top_k = defaults.top_k;
  rest.top_p = defaults.top_p;
  rest.min_p = defaults.min_p;
  rest.repetition_penalty = defaults.repetition_penalty;
  rest.seed = defaults.seed;
  return rest == defaults;
}

Sample SampleToken(std::span<const float> logits, const SamplingParams& params,
                   std::span<const int32_t> history, int64_t index,
                   std::span<const uint32_t> allowed) {
  Sample sample;
  if (logits.empty()) return sample;
  sample.id = Choose(logits, params, history, index, allowed);
  if (params.logprobs >= 0) FillLogprobs(logits, params.logprobs, sample);
  return sample;
}

float LogProbability(std::span<const float> logits, int32_t id) {
  const double highest = HighestLogit(logits);
  return LogShare(ScoreOf(logits[static_cast<size_t>(id)]), highest, LogTotal(logits, highest));
}

}  // namespace lfm2
