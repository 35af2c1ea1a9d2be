#include "model/cpu/decoder.h"

#include <algorithm>
#include <optional>

#include "tests/model/cpu/random_model.h"

namespace lfm2 {
namespace {

struct Kind {
  const char* name;
  ModelConfig (*config)();
  WeightFormat format;
  Isa isa;
};

std::vector<Kind> AllKinds() {
  std::vector<Kind> kinds;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    if (!CanRun(isa)) continue;
    for (const WeightFormat format :
         {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kInt8, WeightFormat::kInt4}) {
      kinds.push_back({"lfm2", SmallLfm2, format, isa});
      kinds.push_back({"hybrid", SmallHybrid, format, isa});
      kinds.push_back({"attention", SmallAttentionOnly, format, isa});
    }
  }
  return kinds;
}

class CpuDecoderOf : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    weights_ = RandomWeights(GetParam().config(), {GetParam().format, GetParam().isa});
  }
  std::shared_ptr<const CpuWeights> weights_;
};

// One sequence of a random schedule: its tokens, its logits alone and whole, how far it is.
struct Scheduled {
  std::vector<int32_t> tokens;
  std::vector<float> expected;
  std::unique_ptr<CpuState> state;
  size_t done = 0;
};

class RandomSchedule {
 public:
  RandomSchedule(const std::shared_ptr<const CpuWeights>& weights, uint64_t seed)
      : random_(seed),
        pool_(static_cast<int>(Uniform(1, 4))),
        alone_(weights, TestPool()),
        decoder_(weights, pool_),
        blocks_(BlocksFor(decoder_.state_shape())) {
    for (int64_t i = Uniform(1, 6); i > 0; --i) sequences_.push_back(NewSequence());
  }

  // How many of the rows that were asked for differ in any bit from the sequence alone and whole.
  int64_t Run() {
    int64_t different = 0;
    while (std::any_of(sequences_.begin(), sequences_.end(),
                       [](const Scheduled& s) { return s.done < s.tokens.size(); })) {
      different += RunBatch();
    }
    return different;
  }

 private:
  int64_t Uniform(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  Scheduled NewSequence() {
    Scheduled out;
    const int64_t vocab = alone_.weights().config().vocab_size;
    // Some longer than one part of the keys.
    const int64_t length = Uniform(0, 3) == 0 ? Uniform(500, 1100) : Uniform(1, 90);
    for (int64_t i = 0; i < length; ++i) {
      out.tokens.push_back(static_cast<int32_t>(Uniform(0, vocab - 1)));
    }
    CpuState whole(alone_.state_shape(), *blocks_, 0);
    out.expected = RunTokens(alone_, whole, out.tokens, LogitRows::kAll);
    out.state = std::make_unique<CpuState>(alone_.state_shape(), *blocks_, 0);
    return out;
  }

  int64_t RunBatch() {
    std::shuffle(sequences_.begin(), sequences_.end(), random_);
    std::vector<CpuSpan> spans;
    std::vector<std::pair<const Scheduled*, std::pair<size_t, size_t>>> wanted;
    for (Scheduled& sequence : sequences_) {
      const auto left = static_cast<int64_t>(sequence.tokens.size() - sequence.done);
      if (left == 0 || Uniform(0, 3) == 0) continue;
      const auto length = static_cast<size_t>(Uniform(0, 2) == 0 ? 1 : Uniform(1, left));
      EXPECT_TRUE(sequence.state->Reserve(static_cast<int64_t>(length)).ok());
      const auto rows = static_cast<LogitRows>(Uniform(0, 2));
      spans.push_back(
          {std::span(sequence.tokens).subspan(sequence.done, length), sequence.state.get(), rows});
      sequence.done += length;
      if (rows == LogitRows::kNone) continue;
      const size_t first = rows == LogitRows::kAll ? sequence.done - length : sequence.done - 1;
      wanted.push_back({&sequence, {first, sequence.done}});
    }
    if (spans.empty()) return 0;
    const auto logits = decoder_.Forward(spans);
    EXPECT_TRUE(logits.ok()) << logits.status();
    const auto width = static_cast<size_t>(alone_.weights().config().vocab_size);
    const float* row = logits->data();
    int64_t different = 0;
    for (const auto& [sequence, range] : wanted) {
      for (size_t i = range.first; i < range.second; ++i, row += width) {
        different +=
            std::memcmp(row, sequence->expected.data() + i * width, width * sizeof(float)) != 0;
      }
    }
    EXPECT_EQ(row, logits->data() + logits->size());
    return different;
  }

  std::mt19937_64 random_;
  ThreadPool pool_;
  CpuDecoder alone_, decoder_;
  std::unique_ptr<BlockPool> blocks_;
  std::vector<Scheduled> sequences_;
};

TEST_P(CpuDecoderOf, AnySplitInAnyMixOnAnyThreadsGivesTheSameBits) {
  const uint64_t seed = CpuTestSeed();
  const int trials = GetParam().isa == Isa::kPortable ? 2 : 8;
  for (int trial = 0; trial < trials; ++trial) {
    SCOPED_TRACE("LFM2_TEST_SEED=" + std::to_string(seed) + ", trial " + std::to_string(trial));
    EXPECT_EQ(RandomSchedule(weights_, seed + static_cast<uint64_t>(trial)).Run(), 0);
  }
}

// The twin has the same weights, dequantised: what is left is the rounding of activations and of
// stored keys and values.
TEST_P(CpuDecoderOf, StaysNearItsPortableFloat32Twin) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < 600; ++i) tokens.push_back(i * 7 % 83);
  CpuDecoder decoder(weights_, TestPool());
  CpuDecoder plain(
      RandomWeights(GetParam().config(), {WeightFormat::kF32, Isa::kPortable}, GetParam().format),
      TestPool());
  const auto blocks = BlocksFor(decoder.state_shape()), others = BlocksFor(plain.state_shape());
  CpuState state(decoder.state_shape(), *blocks, 0), other(plain.state_shape(), *others, 0);
  const std::vector<float> logits = RunTokens(decoder, state, tokens, LogitRows::kAll);
  const std::vector<float> expected = RunTokens(plain, other, tokens, LogitRows::kAll);
  double error = 0, norm = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    error += std::pow(static_cast<double>(logits[i]) - static_cast<double>(expected[i]), 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  const double relative = std::sqrt(error / norm);
  const double allowed = GetParam().format == WeightFormat::kF32    ? 2e-5
                         : GetParam().format == WeightFormat::kBF16 ? 0.01
                                                                    : 0.05;
  EXPECT_LT(relative, allowed);
  RecordProperty("relative", std::to_string(relative));
}

TEST(CpuDecoder, RefusesASpanWhoseStateIsNotReserved) {
  CpuDecoder decoder(RandomWeights(SmallLfm2(), {}), TestPool());
  const auto blocks = BlocksFor(decoder.state_shape());
  CpuState state(decoder.state_shape(), *blocks, 0);
  const int32_t token = 1;
  const CpuSpan span{{&token, 1}, &state, LogitRows::kLast};
  EXPECT_FALSE(decoder.Forward({&span, 1}).ok());
  const CpuSpan empty{{}, &state, LogitRows::kLast};
  EXPECT_FALSE(decoder.Forward({&empty, 1}).ok());
}

std::string NameOfKind(const testing::TestParamInfo<Kind>& kind) {
  return std::string(kind.param.name) + "_" + WeightFormatName(kind.param.format) + "_" +
         IsaName(kind.param.isa);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CpuDecoderOf, testing::ValuesIn(AllKinds()), NameOfKind);

}  // namespace
}  // namespace lfm2
