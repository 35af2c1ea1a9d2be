#include "model/torch/decoder.h"

#include <cstdlib>
#include <random>

#include "tests/parity/golden_model.h"

namespace lfm2 {
namespace {

constexpr double kTolerance = 1e-4;

uint64_t TestSeed() {
  const char* given = std::getenv("LFM2_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

at::Tensor ToTensor(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }

class DecoderOf : public testing::TestWithParam<const char*> {};

// One sequence of a random schedule: its tokens, its expected logits, how far it is.
struct Scheduled {
  std::vector<int64_t> tokens;
  at::Tensor expected;
  std::unique_ptr<SequenceState> state;  // null: runs whole, without a state
  int64_t done = 0;

  int64_t left() const { return static_cast<int64_t>(tokens.size()) - done; }
};

struct Piece {
  Scheduled* sequence;
  int64_t begin, first, length;
};

class RandomSchedule {
 public:
  RandomSchedule(const Decoder& decoder, uint64_t seed) : decoder_(decoder), random_(seed) {
    for (int64_t i = 0; i < Uniform(1, 6); ++i) sequences_.push_back(NewSequence());
  }

  // Largest difference of any logit from the one of the sequence alone and whole.
  double Run() {
    double worst = 0;
    while (Unfinished()) {
      ForwardBatch batch;
      const std::vector<Piece> pieces = NextBatch(batch);
      if (pieces.empty()) continue;
      const at::Tensor logits = decoder_.Logits(decoder_.Hidden(batch));
      for (const Piece& piece : pieces) {
        worst = std::max(
            worst, MaxDifference(logits.narrow(0, piece.begin, piece.length),
                                 piece.sequence->expected.narrow(0, piece.first, piece.length)));
      }
    }
    return worst;
  }

 private:
  int64_t Uniform(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random_);
  }

  Scheduled NewSequence() {
    Scheduled out;
    const int64_t length = Uniform(0, 3) == 0 ? Uniform(60, 90) : Uniform(1, 20);
    for (int64_t i = 0; i < length; ++i)
      out.tokens.push_back(Uniform(0, decoder_.config().vocab_size - 1));
    out.expected = AllLogits(decoder_, ToTensor(out.tokens));
    if (Uniform(0, 3) != 0) out.state = decoder_.NewState();
    return out;
  }

  bool Unfinished() const {
    return std::any_of(sequences_.begin(), sequences_.end(),
                       [](const Scheduled& s) { return s.left() > 0; });
  }

  int64_t LengthFor(const Scheduled& sequence) {
    if (sequence.state == nullptr) return sequence.left();
    return Uniform(0, 1) == 0 ? 1 : Uniform(1, sequence.left());
  }

  std::vector<Piece> NextBatch(ForwardBatch& batch) {
    std::shuffle(sequences_.begin(), sequences_.end(), random_);
    std::vector<Piece> pieces;
    std::vector<int64_t> tokens;
    for (Scheduled& sequence : sequences_) {
      if (sequence.left() == 0 || Uniform(0, 3) == 0) continue;
      const int64_t length = LengthFor(sequence);
      const auto begin = static_cast<int64_t>(tokens.size());
      const auto first = sequence.tokens.begin() + sequence.done;
      tokens.insert(tokens.end(), first, first + length);
      batch.spans.push_back({begin, length, sequence.state.get()});
      pieces.push_back({&sequence, begin, sequence.done, length});
      sequence.done += length;
    }
    batch.tokens = ToTensor(tokens);
    return pieces;
  }

  const Decoder& decoder_;
  std::mt19937_64 random_;
  std::vector<Scheduled> sequences_;
};

TEST_P(DecoderOf, AnySplitInAnyMixGivesTheSameLogits) {
  const GoldenModel model = LoadGolden(GetParam());
  const Decoder decoder = model.decoder();
  const c10::InferenceMode inference;
  const uint64_t seed = TestSeed();
  double worst = 0;
  for (uint64_t trial = 0; trial < 12; ++trial) {
    SCOPED_TRACE("LFM2_TEST_SEED=" + std::to_string(seed) + ", trial " + std::to_string(trial));
    const double difference = RandomSchedule(decoder, seed + trial).Run();
    EXPECT_LT(difference, kTolerance);
    worst = std::max(worst, difference);
  }
  std::printf("%s: LFM2_TEST_SEED=%llu worst %.3g\n", GetParam(),
              static_cast<unsigned long long>(seed), worst);
}

TEST_P(DecoderOf, BatchedTrainingRowsEqualRowsAlone) {
  const GoldenModel model = LoadGolden(GetParam());
  const Decoder decoder = model.decoder();
  const at::Tensor tokens = model.tokens();
  const int64_t n = tokens.size(0);
  const int64_t third = n / 3;
  const std::vector<Span> spans = {{0, third, nullptr},
                                   {third, third, nullptr},
                                   {2 * third, 1, nullptr},
                                   {2 * third + 1, n - 2 * third - 1, nullptr}};
  const at::Tensor rows = decoder.Logits(decoder.Hidden({tokens, spans}));
  for (const Span& span : spans) {
    EXPECT_LT(MaxDifference(rows.narrow(0, span.begin, span.length),
                            AllLogits(decoder, tokens.narrow(0, span.begin, span.length))),
              kTolerance);
  }
}

TEST_P(DecoderOf, Bfloat16StaysNearFloat32) {
  const GoldenModel exact = LoadGolden(GetParam()), half = LoadGolden(GetParam(), at::kBFloat16);
  const at::Tensor expected = AllLogits(exact.decoder(), exact.tokens());
  const at::Tensor logits = AllLogits(half.decoder(), half.tokens());
  EXPECT_EQ(logits.scalar_type(), at::kBFloat16);
  const double error =
      (logits.to(at::kFloat) - expected).norm().item<double>() / expected.norm().item<double>();
  EXPECT_LT(error, 0.05);
  const Decoder decoder = half.decoder();
  const auto state = decoder.NewState();
  at::Tensor last;
  for (int64_t i = 0; i < half.tokens().size(0); ++i) {
    last =
        decoder.Logits(decoder.Hidden({half.tokens().narrow(0, i, 1), {{0, 1, state.get()}}}))[0];
  }
  const double decoded = (last.to(at::kFloat) - expected[-1]).norm().item<double>() /
                         expected[-1].norm().item<double>();
  EXPECT_LT(decoded, 0.05);
  std::printf("%s: bfloat16 relative error %.3g, decoded %.3g\n", GetParam(), error, decoded);
}

// A tensor made on the wrong device, or a value read on the host, throws on the meta device.
TEST_P(DecoderOf, RunsOnMetaInPrefillDecodeAndTraining) {
  const ModelConfig config = *ReadModelConfig(GoldenPath(GetParam()));
  const auto weights = *Weights::Random(config, 0, at::kMeta, at::kFloat);
  const Decoder decoder(config, weights);
  const auto tokens = [](int64_t count) {
    return at::empty({count}, at::TensorOptions().dtype(at::kLong).device(at::kMeta));
  };
  const auto a = decoder.NewState(), b = decoder.NewState();
  EXPECT_TRUE(decoder.Hidden({tokens(90), {{0, 40, a.get()}, {40, 45, b.get()}, {85, 5, nullptr}}})
                  .is_meta());
  decoder.Hidden({tokens(12), {{0, 7, a.get()}, {7, 5, b.get()}}});
  const at::Tensor step =
      decoder.Logits(decoder.Hidden({tokens(2), {{0, 1, a.get()}, {1, 1, b.get()}}}));
  EXPECT_TRUE(step.is_meta());
  EXPECT_EQ(step.sizes(), at::IntArrayRef({2, config.vocab_size}));
  EXPECT_EQ(a->position(), 48);
  for (auto& [name, tensor] : weights->mutable_tensors()) tensor.requires_grad_(true);
  const at::Tensor logits =
      decoder.Logits(decoder.Hidden({tokens(80), {{0, 40, nullptr}, {40, 40, nullptr}}}));
  at::cross_entropy_loss(logits, tokens(80)).backward();
  for (const auto& [name, tensor] : weights->tensors())
    EXPECT_TRUE(tensor.grad().is_meta()) << name;
}

TEST_P(DecoderOf, ClonedStateContinuesLikeItsOriginal) {
  const GoldenModel model = LoadGolden(GetParam());
  const Decoder decoder = model.decoder();
  const at::Tensor tokens = model.tokens();
  const int64_t n = tokens.size(0), begun = n / 2;
  const auto prefix = decoder.NewState();
  decoder.Hidden({tokens.narrow(0, 0, begun), {{0, begun, prefix.get()}}});
  const auto copy = prefix->Clone();
  decoder.Hidden({tokens.narrow(0, 0, 5), {{0, 5, prefix.get()}}});
  const at::Tensor logits = decoder.Logits(
      decoder.Hidden({tokens.narrow(0, begun, n - begun), {{0, n - begun, copy.get()}}}));
  EXPECT_LT(MaxDifference(logits, model.golden.at("logits").narrow(0, begun, n - begun)),
            kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderOf, testing::ValuesIn(kGoldenNames));

TEST(Decoder, ConvBiasIsAdded) {
  ModelConfig config = *ReadModelConfig(GoldenPath("lfm2-tiny"));
  config.conv_bias = true;
  const auto weights = *Weights::Random(config, 1, at::kCPU, at::kFloat);
  const Decoder decoder(config, weights);
  const at::Tensor tokens = at::arange(6);
  const at::Tensor without = AllLogits(decoder, tokens);
  weights->mutable_tensors().at("model.layers.0.conv.conv.bias").fill_(1);
  weights->mutable_tensors().at("model.layers.0.conv.in_proj.bias").fill_(1);
  EXPECT_GT(MaxDifference(AllLogits(decoder, tokens), without), 1e-3);
}

TEST(Decoder, RefusesTokensThatAreNotInt64Rows) {
  const GoldenModel model = LoadGolden("lfm2-tiny");
  EXPECT_THROW(model.decoder().Hidden({at::zeros({2}), {{0, 2, nullptr}}}), c10::Error);
  EXPECT_THROW(model.decoder().Hidden({at::zeros({1, 2}, at::kLong), {{0, 2, nullptr}}}),
               c10::Error);
}

}  // namespace
}  // namespace lfm2
