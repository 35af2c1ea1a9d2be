// The device's sampling against model/sampling/sampler.h, which it must equal.
#include "model/cuda/sample_body.h"

#include <gtest/gtest.h>

#include <limits>
#include <tuple>

#include "model/sampling/sampler.h"
#include "tests/model/cuda/values.h"

namespace lfm2 {
namespace {

struct Row {
  SamplingParams params;
  int64_t index = 0;
  std::vector<int32_t> history;
  std::vector<uint32_t> allowed;
};

class SampleOnDevice : public testing::TestWithParam<int> {
 protected:
  // One token a row of logits [rows][vocab].
  std::vector<Lfm2CudaChoice> Run(const Values& logits, int vocab, const std::vector<Row>& rows) {
    const int words = (vocab + 31) / 32;
    std::vector<uint32_t> seen(rows.size() * static_cast<size_t>(words)), allowed(seen.size());
    std::vector<Lfm2CudaSampling> params;
    for (size_t i = 0; i < rows.size(); ++i) {
      const SamplingParams& p = rows[i].params;
      params.push_back({p.temperature, p.top_p, p.min_p, p.repetition_penalty, p.top_k,
                        rows[i].index, p.seed, 1, p.repetition_penalty != 1 ? 1 : 0,
                        rows[i].allowed.empty() ? 0 : 1, 0});
      const size_t begin = i * static_cast<size_t>(words);
      for (const int32_t id : rows[i].history) {
        if (id >= 0 && id < vocab) seen[begin + static_cast<size_t>(id) / 32] |= 1U << (id % 32);
      }
      std::copy(rows[i].allowed.begin(), rows[i].allowed.end(),
                allowed.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    std::vector<Lfm2CudaChoice> choices(rows.size());
    const Lfm2CudaSample args{GetParam(),    static_cast<int>(rows.size()),
                              vocab,         words,
                              logits.data(), params.data(),
                              seen.data(),   allowed.data(),
                              choices.data()};
    EXPECT_EQ(HostCudaFunctions().sample(nullptr, &args), 0);
    return choices;
  }

  static int32_t OnHost(const Values& logits, int vocab, int64_t row, const Row& how) {
    std::vector<float> values;
    for (int64_t i = 0; i < vocab; ++i) {
      values.push_back(static_cast<float>(logits[row * vocab + i]));
    }
    return SampleToken(values, how.params, how.history, how.index, how.allowed).id;
  }

  template <typename T>
  T OneOf(std::initializer_list<T> values) {
    return values.begin()[random_() % values.size()];
  }

  Row RandomRow(int vocab) {
    Row row;
    row.params.temperature = OneOf({0.0, 0.2, 0.7, 1.0, 3.0});
    row.params.top_k = OneOf<int64_t>({0, 0, 1, 5, 40, vocab - 1, vocab, int64_t{10} * vocab});
    row.params.top_p = OneOf({1.0, 1.0, 0.95, 0.5, 0.01, 0.0});
    row.params.min_p = OneOf({0.0, 0.0, 0.05, 0.5, 1.0});
    row.params.repetition_penalty = OneOf({1.0, 1.0, 1.3, 0.8});
    row.params.seed = random_();
    row.index = static_cast<int64_t>(random_() % 1000);
    row.history.resize(20);
    for (int32_t& id : row.history) {
      id = static_cast<int32_t>(random_() % static_cast<uint64_t>(vocab + 3)) - 1;
    }
    if (random_() % 3 == 0) {
      row.allowed.resize(static_cast<size_t>(vocab + 31) / 32);
      for (uint32_t& word : row.allowed) word = static_cast<uint32_t>(random_() & random_());
      const auto id = static_cast<uint32_t>(random_() % static_cast<uint64_t>(vocab));
      row.allowed[id / 32] |= 1U << (id % 32);
    }
    return row;
  }

  std::mt19937_64 random_{15};
};

TEST_P(SampleOnDevice, ChoosesTheHostsTokenForRandomSettings) {
  int drawn = 0;
  for (const int vocab : {1, 2, 33, 1000, 1024, 5003}) {
    for (const double scale : {0.5, 3.0, 20.0}) {
      std::vector<Row> rows(24);
      for (Row& row : rows) row = RandomRow(vocab);
      Values logits = Values::Normal(GetParam(), int64_t{24} * vocab, random_, scale);
      // Some rows of few different values: ties everywhere.
      for (int64_t i = 0; i < int64_t{6} * vocab; ++i) logits.Set(i, std::round(logits[i]));
      const std::vector<Lfm2CudaChoice> choices = Run(logits, vocab, rows);
      for (size_t i = 0; i < rows.size(); ++i) {
        const SamplingParams& p = rows[i].params;
        ASSERT_EQ(choices[i].finite, 1);
        ASSERT_EQ(choices[i].id, OnHost(logits, vocab, static_cast<int64_t>(i), rows[i]))
            << "vocab " << vocab << " row " << i << " temperature " << p.temperature << " top_k "
            << p.top_k << " top_p " << p.top_p << " min_p " << p.min_p << " penalty "
            << p.repetition_penalty << " allowed " << !rows[i].allowed.empty();
        drawn += p.temperature > 0 ? 1 : 0;
      }
    }
  }
  EXPECT_GT(drawn, 200);
}

// A score below zero is multiplied, one above is divided.
TEST_P(SampleOnDevice, PenalisesWhatWasSeenOnBothSidesOfZero) {
  Row row;
  row.params.repetition_penalty = 4;
  row.history = {0};
  for (const auto& [first, second, winner] :
       {std::tuple{-1.0, -2.0, 1}, {-1.0, -5.0, 0}, {8.0, 3.0, 1}, {8.0, 1.0, 0}}) {
    Values logits(GetParam(), 2);
    logits.Set(0, first);
    logits.Set(1, second);
    EXPECT_EQ(Run(logits, 2, {row})[0].id, winner) << first << ' ' << second;
    EXPECT_EQ(OnHost(logits, 2, 0, row), winner);
  }
}

TEST_P(SampleOnDevice, FollowsTheDistribution) {
  const int vocab = 4, draws = 4000;
  Values logits(GetParam(), vocab);
  for (int i = 0; i < vocab; ++i) logits.Set(i, i);  // weights 1, e, e^2, e^3
  std::vector<int> counts(static_cast<size_t>(vocab));
  for (int i = 0; i < draws; ++i) {
    Row row;
    row.params.temperature = 1;
    row.params.seed = 5;
    row.index = i;
    ++counts[static_cast<size_t>(Run(logits, vocab, {row})[0].id)];
  }
  double total = 0;
  for (int i = 0; i < vocab; ++i) total += std::exp(i);
  for (int i = 0; i < vocab; ++i) {
    const double share = std::exp(i) / total;
    EXPECT_NEAR(counts[static_cast<size_t>(i)], draws * share,
                5 * std::sqrt(draws * share * (1 - share)));
  }
}

TEST_P(SampleOnDevice, ReportsRowsWhoseLogitsAreNotFinite) {
  const int64_t vocab = 2000;
  for (const double bad : {double{NAN}, double{INFINITY}, double{-INFINITY}}) {
    Values logits = Values::Normal(GetParam(), 3 * vocab, random_);
    logits.Set(vocab + 1999, bad);
    Row row;
    row.params.temperature = 1;
    const std::vector<Lfm2CudaChoice> choices =
        Run(logits, static_cast<int>(vocab), {row, row, row});
    EXPECT_EQ(choices[0].finite, 1);
    EXPECT_EQ(choices[1].finite, 0);
    EXPECT_EQ(choices[2].finite, 1);
  }
}

TEST_P(SampleOnDevice, LeavesOutARowThatAsksForNoToken) {
  const Values logits = Values::Normal(GetParam(), 10, random_);
  const Lfm2CudaSampling none{};
  Lfm2CudaChoice choice{5, 5};
  const Lfm2CudaSample args{GetParam(), 1, 10, 1, logits.data(), &none, nullptr, nullptr, &choice};
  ASSERT_EQ(HostCudaFunctions().sample(nullptr, &args), 0);
  EXPECT_EQ(choice.id, -1);
}

INSTANTIATE_TEST_SUITE_P(EachType, SampleOnDevice, testing::ValuesIn(kDtypes));

}  // namespace
}  // namespace lfm2
