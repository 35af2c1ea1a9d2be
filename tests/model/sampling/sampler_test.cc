#include "model/sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace lfm2 {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> RandomLogits(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> out(count);
  for (float& logit : out) logit = normal(random);
  return out;
}

SamplingParams Tempered(double temperature, uint64_t seed = 1) {
  SamplingParams params;
  params.temperature = temperature;
  params.seed = seed;
  return params;
}

// The definition: everything sorted, every step over all that the one before left. Probabilities by
// id.
std::map<int32_t, double> PlainDistribution(const std::vector<float>& logits,
                                            const SamplingParams& params) {
  std::vector<std::pair<double, int32_t>> order;
  for (size_t i = 0; i < logits.size(); ++i) {
    order.emplace_back(-logits[i] / params.temperature, static_cast<int32_t>(i));
  }
  std::sort(order.begin(), order.end());
  if (params.top_k > 0) order.resize(std::min(order.size(), static_cast<size_t>(params.top_k)));
  const auto normalised = [&] {
    std::vector<double> p;
    for (const auto& [score, id] : order) p.push_back(std::exp(order[0].first - score));
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    for (double& value : p) value /= total;
    return p;
  };
  std::vector<double> p = normalised();
  double before = 0;
  size_t kept = 0;
  while (kept < p.size() && (kept == 0 || before < params.top_p)) before += p[kept++];
  if (params.top_p < 1) order.resize(kept);
  p = normalised();
  kept = static_cast<size_t>(
      std::count_if(p.begin(), p.end(), [&](double x) { return x >= params.min_p * p[0]; }));
  order.resize(kept);
  p = normalised();
  std::map<int32_t, double> out;
  for (size_t i = 0; i < order.size(); ++i) out[order[i].second] = p[i];
  return out;
}

TEST(Sampler, GreedyTakesTheLowestIdAmongTies) {
  const std::vector<float> logits = {0, 3, 1, 3, 3};
  EXPECT_EQ(SampleToken(logits, {}, {}, 0).id, 1);
}

TEST(Sampler, TruncationsKeepWhatTheDefinitionKeeps) {
  std::mt19937_64 random(11);
  for (int trial = 0; trial < 40; ++trial) {
    const std::vector<float> logits = RandomLogits(300, static_cast<uint64_t>(trial));
    SamplingParams params = Tempered(std::uniform_real_distribution<>(0.3, 2.5)(random));
    if (trial % 2 == 0) params.top_k = std::uniform_int_distribution<int64_t>(1, 320)(random);
    if (trial % 3 == 0) params.top_p = std::uniform_real_distribution<>(0.05, 1)(random);
    if (trial % 5 == 0) params.min_p = std::uniform_real_distribution<>(0, 0.5)(random);
    const std::map<int32_t, double> expected = PlainDistribution(logits, params);
    std::map<int32_t, int> drawn;
    constexpr int kDraws = 400;
    for (int64_t i = 0; i < kDraws; ++i) ++drawn[SampleToken(logits, params, {}, i).id];
    for (const auto& [id, count] : drawn)
      EXPECT_EQ(expected.count(id), 1u) << "trial " << trial << " id " << id;
    for (const auto& [id, p] : expected) {
      EXPECT_NEAR(drawn[id], kDraws * p, 6 * std::sqrt(kDraws * p) + 3)
          << "trial " << trial << " id " << id;
    }
  }
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const std::vector<float> logits = {0, 1, -1, 2, 0.5, -3, 1.5, 0};
  const std::map<int32_t, double> expected = PlainDistribution(logits, Tempered(1.3));
  constexpr int kDraws = 20000;
  std::map<int32_t, int> drawn;
  for (int64_t i = 0; i < kDraws; ++i) ++drawn[SampleToken(logits, Tempered(1.3), {}, i).id];
  double chi_square = 0;
  for (const auto& [id, p] : expected) {
    chi_square += (drawn[id] - kDraws * p) * (drawn[id] - kDraws * p) / (kDraws * p);
  }
  EXPECT_LT(chi_square, 24.3) << "7 degrees of freedom, p = 0.001";
}

TEST(Sampler, DrawDependsOnSeedAndIndexAlone) {
  const std::vector<float> logits = RandomLogits(1000, 3);
  std::set<int32_t> by_index, by_seed;
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(SampleToken(logits, Tempered(2), {}, i).id,
              SampleToken(logits, Tempered(2), {}, i).id);
    by_index.insert(SampleToken(logits, Tempered(2), {}, i).id);
    by_seed.insert(SampleToken(logits, Tempered(2, static_cast<uint64_t>(i)), {}, 0).id);
  }
  EXPECT_GT(by_index.size(), 20u);
  EXPECT_GT(by_seed.size(), 20u);
}

TEST(Sampler, NeighbouringSeedsDoNotShareTheirDraws) {
  const std::vector<float> logits(1000, 0);
  int equal = 0;
  for (int64_t i = 0; i < 200; ++i) {
    equal += SampleToken(logits, Tempered(1, 5), {}, i + 1).id ==
             SampleToken(logits, Tempered(1, 6), {}, i).id;
  }
  EXPECT_LT(equal, 5);
}

TEST(Sampler, TopKOneIsGreedyAndTiesGoToTheLowestIds) {
  const std::vector<float> logits = {1, 5, 5, 5};
  SamplingParams params = Tempered(1);
  params.top_k = 1;
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(SampleToken(logits, params, {}, i).id, 1);
  params.top_k = 2;
  for (int64_t i = 0; i < 50; ++i) EXPECT_LE(SampleToken(logits, params, {}, i).id, 2);
}

TEST(Sampler, TinyTemperatureIsGreedy) {
  const std::vector<float> logits = {1, 5, 4.999f};
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(SampleToken(logits, Tempered(1e-300), {}, i).id, 1);
}

TEST(Sampler, TinyTopPKeepsTheLikeliest) {
  SamplingParams params = Tempered(1);
  params.top_p = 1e-12;
  const std::vector<float> logits = RandomLogits(500, 4);
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(SampleToken(logits, params, {}, i).id, best);
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegativeScoresOnce) {
  SamplingParams params;
  params.repetition_penalty = 2;
  const std::vector<int32_t> history = {0, 0, 0, 2};
  EXPECT_EQ(SampleToken(std::vector<float>{3.9f, 2, 0}, params, history, 0).id, 1);
  EXPECT_EQ(SampleToken(std::vector<float>{4.1f, 2, 0}, params, history, 0).id, 0);
  EXPECT_EQ(SampleToken(std::vector<float>{-9, -1.9f, -1}, params, history, 0).id, 1);
  EXPECT_EQ(SampleToken(std::vector<float>{-9, -2.1f, -1}, params, history, 0).id, 2);
}

TEST(Sampler, RepetitionPenaltyIgnoresIdsOutsideTheLogits) {
  SamplingParams params;
  params.repetition_penalty = 2;
  EXPECT_EQ(SampleToken(std::vector<float>{1, 2}, params, std::vector<int32_t>{-1, 7}, 0).id, 1);
}

// History: a prompt of 0 0, then 1 1 2 was generated.
TEST(Sampler, FrequencyAndPresencePenaltiesLookAtGeneratedTokensOnly) {
  const std::vector<int32_t> history = {0, 0, 1, 1, 2};
  SamplingParams often, once;
  often.frequency_penalty = 0.5;
  once.presence_penalty = 0.5;
  const auto chosen = [&](const std::vector<float>& logits, const SamplingParams& params) {
    return SampleToken(logits, params, history, 3).id;
  };
  EXPECT_EQ(chosen({1.1f, 2.0f, 0, 0}, often), 0);  // 2.0 - 2 * 0.5
  EXPECT_EQ(chosen({0.9f, 2.0f, 0, 0}, often), 1);
  EXPECT_EQ(chosen({0, 0, 1.0f, 0.6f}, often), 3);  // 1.0 - 0.5
  EXPECT_EQ(chosen({1.6f, 2.0f, 0, 0}, once), 0);   // 2.0 - 0.5, however often
  EXPECT_EQ(chosen({1.4f, 2.0f, 0, 0}, once), 1);
  once.presence_penalty = -0.5;
  EXPECT_EQ(chosen({2.4f, 2.0f, 0, 0}, once), 1);
  // Nothing has been generated: the prompt does not count.
  EXPECT_EQ(SampleToken(std::vector<float>{2, 1.9f}, often, std::vector<int32_t>{0, 0}, 0).id, 0);
}

TEST(Sampler, BiasesAreAddedBeforeAnythingElse) {
  SamplingParams params;
  params.logit_bias = {{0, -100}, {2, 1.5}, {9, 100}};
  EXPECT_EQ(SampleToken(std::vector<float>{5, 2, 0.6f}, params, {}, 0).id, 2);
  EXPECT_EQ(SampleToken(std::vector<float>{5, 2, 0.4f}, params, {}, 0).id, 1);
  params.repetition_penalty = 2;  // (0.6 + 1.5) / 2 < 2
  EXPECT_EQ(SampleToken(std::vector<float>{5, 2, 0.6f}, params, std::vector<int32_t>{2}, 0).id, 1);
  SamplingParams drawn = Tempered(1);
  drawn.logit_bias = {{1, -100}};
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_NE(SampleToken(std::vector<float>{0, 3, 0}, drawn, {}, i).id, 1);
  }
  // A logprob is the raw logits'.
  params.logprobs = 0;
  EXPECT_NEAR(SampleToken(std::vector<float>{5, 2, 0.6f}, params, {}, 0).logprob,
              0.6 - std::log(std::exp(5.0) + std::exp(2.0) + std::exp(0.6)), 1e-6);
}

TEST(Sampler, SurvivesLogitsThatAreNotNumbers) {
  const std::vector<std::vector<float>> rows = {{kNan, 1, 2},
                                                {kNan, kNan, kNan},
                                                {kInfinity, 1, kInfinity},
                                                {-kInfinity, -kInfinity},
                                                {-kInfinity, kNan, 0}};
  SamplingParams all = Tempered(0.7);
  all.top_k = 2;
  all.top_p = 0.9;
  all.min_p = 0.1;
  all.repetition_penalty = 1.5;
  all.presence_penalty = 1;
  all.logit_bias = {{0, 1}, {1, -1}};
  all.logprobs = 2;
  for (const std::vector<float>& row : rows) {
    for (const SamplingParams& params : {SamplingParams(), Tempered(1), all}) {
      const Sample sample = SampleToken(row, params, std::vector<int32_t>{0}, 0);
      EXPECT_GE(sample.id, 0);
      EXPECT_LT(sample.id, static_cast<int32_t>(row.size()));
      EXPECT_EQ(sample.id, SampleToken(row, params, std::vector<int32_t>{0}, 0).id);
    }
  }
  EXPECT_EQ(SampleToken(rows[0], {}, {}, 0).id, 2);
  EXPECT_NE(SampleToken(rows[2], Tempered(1), {}, 0).id, 1);
  EXPECT_EQ(SampleToken({}, {}, {}, 0).id, 0);
}

TEST(Sampler, LogprobsAreOfTheRawLogits) {
  const std::vector<float> logits = {1, 3, 2, 3};
  SamplingParams params = Tempered(5);
  params.logprobs = 3;
  params.repetition_penalty = 4;
  const Sample sample = SampleToken(logits, params, std::vector<int32_t>{1}, 0);
  const double total = std::log(std::exp(1.0) + 2 * std::exp(3.0) + std::exp(2.0));
  EXPECT_NEAR(sample.logprob, logits[static_cast<size_t>(sample.id)] - total, 1e-6);
  ASSERT_EQ(sample.top.size(), 3u);
  EXPECT_EQ(sample.top[0].id, 1);
  EXPECT_EQ(sample.top[1].id, 3);
  EXPECT_EQ(sample.top[2].id, 2);
  EXPECT_NEAR(sample.top[2].logprob, 2 - total, 1e-6);
  EXPECT_NEAR(LogProbability(logits, 0), 1 - total, 1e-6);
}

TEST(Sampler, LogprobsAskedForBeyondTheVocabularyGiveAllOfIt) {
  SamplingParams params;
  params.logprobs = 20;
  EXPECT_EQ(SampleToken(std::vector<float>{1, 2, 3}, params, {}, 0).top.size(), 3u);
  params.logprobs = 0;
  EXPECT_TRUE(SampleToken(std::vector<float>{1, 2, 3}, params, {}, 0).top.empty());
}

TEST(Sampler, FlatNucleusOverALargeVocabularyIsTheDefinitions) {
  const std::vector<float> logits(65536, 0.5f);
  SamplingParams params = Tempered(1);
  params.top_p = 0.5;
  for (int64_t i = 0; i < 30; ++i) EXPECT_LT(SampleToken(logits, params, {}, i).id, 32768);
}

// Bits of the ids.
std::vector<uint32_t> Only(std::initializer_list<int32_t> ids, size_t words) {
  std::vector<uint32_t> mask(words);
  for (const int32_t id : ids) mask[static_cast<size_t>(id) / 32] |= uint32_t{1} << (id % 32);
  return mask;
}

TEST(Sampler, ChoosesAmongTheAllowedOnly) {
  std::vector<float> logits(70);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i);
  EXPECT_EQ(SampleToken(logits, {}, {}, 0, Only({0, 33, 5}, 3)).id, 33);
  EXPECT_EQ(SampleToken(logits, {}, {}, 0, Only({69}, 3)).id, 69);
  EXPECT_EQ(SampleToken(logits, {}, {}, 0, Only({0}, 1)).id, 0);  // past the mask: not allowed
  SamplingParams penalised;
  penalised.repetition_penalty = 100;
  EXPECT_EQ(SampleToken(logits, penalised, std::vector<int32_t>{33}, 0, Only({5, 33}, 3)).id, 5);
  std::set<int32_t> drawn;
  SamplingParams params = Tempered(50);
  params.top_k = 2;  // of the allowed
  for (int64_t i = 0; i < 200; ++i)
    drawn.insert(SampleToken(logits, params, {}, i, Only({1, 2, 40}, 3)).id);
  EXPECT_EQ(drawn, (std::set<int32_t>{2, 40}));
}

TEST(Sampler, GivesTheRawLogprobsWhateverIsAllowed) {
  SamplingParams params;
  params.logprobs = 1;
  const Sample sample = SampleToken(std::vector<float>{0, 10, 0}, params, {}, 0, Only({0}, 1));
  EXPECT_EQ(sample.id, 0);
  EXPECT_NEAR(sample.logprob, -10.0F, 1e-3);
  EXPECT_EQ(sample.top.front().id, 1);
}

TEST(DeviceKnows, OnlyTheOptionsThatItsSamplerFollows) {
  SamplingParams params;
  EXPECT_TRUE(DeviceKnows(params));
  // Every option, by place: a new one does not compile before it is set here or refused below.
  auto& [temperature, top_k, top_p, min_p, repetition, frequency, presence, bias, seed, logprobs] =
      params;
  temperature = 0.7, top_k = 5, top_p = 0.9, min_p = 0.1, repetition = 1.3, seed = 9;
  EXPECT_TRUE(DeviceKnows(params));
  const SamplingParams known = params;
  frequency = 0.5;
  EXPECT_FALSE(DeviceKnows(params));
  params = known;
  presence = -0.5;
  EXPECT_FALSE(DeviceKnows(params));
  params = known;
  bias = {{3, 1.0}};
  EXPECT_FALSE(DeviceKnows(params));
  params = known;
  logprobs = 0;
  EXPECT_FALSE(DeviceKnows(params));
}

}  // namespace
}  // namespace lfm2
