// The whole decode path of a GPU, run on the host: the library's table is the one that
// tests/model/cuda/host/host_library.h makes of the same kernels. Its twin is the decoder on
// LibTorch.
#include "model/torch/cuda_decoder.h"

#include <random>

#include "base/errors.h"
#include "tests/model/cuda/host/host_library.h"
#include "tests/parity/golden_model.h"

namespace lfm2 {
namespace {

CudaDecoderOptions Small() {
  CudaDecoderOptions options;
  options.kv_bytes = 1 << 20;
  options.sequences = 5;
  options.step_rows = 4;
  return options;
}

std::unique_ptr<CudaDecoder> Make(const GoldenModel& model,
                                  const CudaDecoderOptions& options = Small()) {
  auto made = CudaDecoder::Make(HostCudaFunctions(), model.config, model.weights, options);
  EXPECT_TRUE(made.ok()) << made.status();
  return std::move(*made);
}

std::vector<int32_t> Tokens(int64_t count, int64_t vocab, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocab)));
  }
  return out;
}

at::Tensor ToTensor(std::span<const int32_t> tokens) {
  return at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong);
}

// log softmax of every token, [T, vocab], of the sequence alone and whole.
at::Tensor Expected(const GoldenModel& model, std::span<const int32_t> tokens) {
  const Decoder decoder = model.decoder();
  return decoder
      .Logits(
          decoder.Hidden({ToTensor(tokens), {{0, static_cast<int64_t>(tokens.size()), nullptr}}}))
      .to(at::kFloat)
      .log_softmax(-1);
}

struct Running {
  std::vector<int32_t> tokens;
  at::Tensor expected;
  std::unique_ptr<SequenceState> state;

  int64_t done() const { return state->position(); }
  int64_t left() const { return static_cast<int64_t>(tokens.size()) - done(); }
};

class CudaDecoderOf : public testing::TestWithParam<const char*> {
 protected:
  Running Start(const GoldenModel& model, CudaDecoder& cuda, int64_t count, uint64_t seed) {
    Running out;
    out.tokens = Tokens(count, model.config.vocab_size, seed);
    out.expected = Expected(model, out.tokens);
    out.state = cuda.NewState().value();
    return out;
  }

  // A part of a sequence through the pass for prompts. The largest difference.
  double Prefill(const CudaDecoder& cuda, CudaDecoder& owner, Running& sequence, int64_t count) {
    EXPECT_TRUE(owner.Reserve(*sequence.state, count).ok());
    const int64_t first = sequence.done();
    const auto part =
        std::span(sequence.tokens).subspan(static_cast<size_t>(first), static_cast<size_t>(count));
    const Decoder& decoder = cuda.decoder();
    const at::Tensor logits =
        decoder.Logits(decoder.Hidden({ToTensor(part), {{0, count, sequence.state.get()}}}));
    return MaxDifference(logits.to(at::kFloat).log_softmax(-1),
                         sequence.expected.narrow(0, first, count));
  }

  // The next token of each through one step. The largest difference of any log probability.
  double Step(CudaDecoder& cuda, const std::vector<Running*>& sequences) {
    SamplingParams all;
    all.logprobs = cuda.decoder().config().vocab_size;
    std::vector<CudaItem> items;
    std::vector<int64_t> positions;
    for (Running* sequence : sequences) {
      EXPECT_TRUE(cuda.Reserve(*sequence->state, 1).ok());
      positions.push_back(sequence->done());
      items.push_back({sequence->state.get(),
                       sequence->tokens[static_cast<size_t>(sequence->done())],
                       &all,
                       {},
                       0,
                       {}});
    }
    const auto results = cuda.Step(items);
    EXPECT_TRUE(results.ok()) << results.status();
    double worst = 0;
    for (size_t i = 0; results.ok() && i < sequences.size(); ++i) {
      const auto expected = sequences[i]->expected[positions[i]];
      for (const TokenLogprob& top : (*results)[i].sample->top) {
        worst = std::max(worst, std::abs(double{top.logprob} - expected[top.id].item<double>()));
      }
      EXPECT_EQ(sequences[i]->done(), positions[i] + 1);
    }
    return worst;
  }
};

TEST_P(CudaDecoderOf, AnyMixOfPassesAndStepsGivesTheDecodersLogits) {
  const GoldenModel model = LoadGolden(GetParam());
  const auto cuda = Make(model);
  std::mt19937_64 random(3);
  for (int round = 0; round < 3; ++round) {
    std::vector<Running> sequences;
    for (uint64_t i = 0; i < 5; ++i) {
      sequences.push_back(Start(model, *cuda, 20 + static_cast<int64_t>(random() % 70), random()));
    }
    double worst = 0;
    while (true) {
      std::vector<Running*> single;
      for (Running& sequence : sequences) {
        if (sequence.left() == 0) continue;
        const auto most = static_cast<uint64_t>(std::min<int64_t>(sequence.left(), 40));
        if (random() % 4 == 0) {
          worst = std::max(
              worst, Prefill(*cuda, *cuda, sequence, 1 + static_cast<int64_t>(random() % most)));
        } else {
          single.push_back(&sequence);
        }
      }
      if (!single.empty()) worst = std::max(worst, Step(*cuda, single));
      if (std::all_of(sequences.begin(), sequences.end(),
                      [](const Running& sequence) { return sequence.left() == 0; })) {
        break;
      }
    }
    EXPECT_LT(worst, 1e-4) << round;
  }
  EXPECT_EQ(cuda->blocks_in_use(), 0);
}

TEST_P(CudaDecoderOf, BeyondAPartOfKeysToo) {
  const GoldenModel model = LoadGolden(GetParam());
  const auto cuda = Make(model);
  Running sequence = Start(model, *cuda, 280, 9);
  double worst = Prefill(*cuda, *cuda, sequence, 250);
  while (sequence.left() > 0) worst = std::max(worst, Step(*cuda, {&sequence}));
  EXPECT_LT(worst, 1e-4);
}

TEST_P(CudaDecoderOf, Bfloat16RoundsWhereTheDecoderDoes) {
  const GoldenModel model = LoadGolden(GetParam(), at::kBFloat16);
  const auto cuda = Make(model);
  Running sequence = Start(model, *cuda, 40, 5);
  const at::Tensor exact = Expected(LoadGolden(GetParam()), sequence.tokens);
  const double twins_error = MaxDifference(sequence.expected, exact);
  double worst = 0;
  while (sequence.left() > 0) worst = std::max(worst, Step(*cuda, {&sequence}));
  EXPECT_LT(worst, 2 * twins_error + 0.05) << "the twin's own error is " << twins_error;
}

TEST_P(CudaDecoderOf, WeightsStayWhatTheyWereWhenTheyArePacked) {
  const GoldenModel model = LoadGolden(GetParam()), packed = LoadGolden(GetParam());
  const auto cuda = Make(packed);
  for (const auto& [name, tensor] : model.weights->tensors()) {
    EXPECT_TRUE(at::equal(tensor, (*packed.weights)[name])) << name;
  }
  EXPECT_EQ(model.weights->bytes(), packed.weights->bytes());
}

TEST_P(CudaDecoderOf, AnEndedSequenceGivesItsBlocksAndSlotBack) {
  const GoldenModel model = LoadGolden(GetParam());
  const auto cuda = Make(model);
  std::vector<std::unique_ptr<SequenceState>> states;
  for (int i = 0; i < 5; ++i) states.push_back(cuda->NewState().value());
  const auto none = cuda->NewState();
  EXPECT_EQ(DetailsOf(none.status()).reason, Reason::kGpuOutOfMemory);
  const bool attends = cuda->blocks() > 0;
  ASSERT_TRUE(cuda->Reserve(*states[0], 33).ok());
  EXPECT_EQ(cuda->blocks_in_use(), attends ? 2 : 0);
  if (attends) {
    const absl::Status refused = cuda->Reserve(*states[1], cuda->blocks() * kLfm2CudaBlockTokens);
    EXPECT_EQ(DetailsOf(refused).reason, Reason::kGpuOutOfMemory);
    EXPECT_EQ(cuda->blocks_in_use(), 2);
    EXPECT_TRUE(cuda->Reserve(*states[1], (cuda->blocks() - 2) * kLfm2CudaBlockTokens).ok());
  }
  states.clear();
  EXPECT_EQ(cuda->blocks_in_use(), 0);
  EXPECT_TRUE(cuda->NewState().ok());
}

// A slot that somebody has used starts from zero again.
TEST_P(CudaDecoderOf, ASlotsNextSequenceSeesNothingOfTheLast) {
  const GoldenModel model = LoadGolden(GetParam());
  CudaDecoderOptions one = Small();
  one.sequences = 1;
  const auto cuda = Make(model, one);
  for (uint64_t round = 0; round < 3; ++round) {
    Running sequence = Start(model, *cuda, 12, round);
    double worst = 0;
    while (sequence.left() > 0) worst = std::max(worst, Step(*cuda, {&sequence}));
    EXPECT_LT(worst, 1e-4);
  }
}

// A tensor made on the wrong device, or a value read on the host, throws on the meta device.
TEST_P(CudaDecoderOf, LibTorchsPartsRunOnMeta) {
  static const Lfm2CudaFunctions idle = [] {
    Lfm2CudaFunctions out = HostCudaFunctions();
    out.gemm = [](Lfm2CudaContext*, const Lfm2CudaGemm*) { return 0; };
    out.embed = [](Lfm2CudaContext*, const Lfm2CudaEmbed*) { return 0; };
    out.norm = [](Lfm2CudaContext*, const Lfm2CudaNorm*) { return 0; };
    out.bias = [](Lfm2CudaContext*, const Lfm2CudaBias*) { return 0; };
    out.silu_mul = [](Lfm2CudaContext*, const Lfm2CudaSiluMul*) { return 0; };
    out.rope = [](Lfm2CudaContext*, const Lfm2CudaRope*) { return 0; };
    out.attend = [](Lfm2CudaContext*, const Lfm2CudaAttend*) { return 0; };
    out.kv_store = out.kv_load = [](Lfm2CudaContext*, const Lfm2CudaKvCopy*) { return 0; };
    out.conv = [](Lfm2CudaContext*, const Lfm2CudaConv*) { return 0; };
    out.ssm = [](Lfm2CudaContext*, const Lfm2CudaSsm*) { return 0; };
    out.sample = [](Lfm2CudaContext*, const Lfm2CudaSample*) { return 0; };
    return out;
  }();
  const ModelConfig config = *ReadModelConfig(GoldenPath(GetParam()));
  const auto weights = *Weights::Random(config, 0, at::kMeta, at::kBFloat16);
  auto cuda = CudaDecoder::Make(idle, config, weights, Small());
  ASSERT_TRUE(cuda.ok()) << cuda.status();
  const auto state = (*cuda)->NewState().value();
  for (const int64_t count : {40, 7}) {
    ASSERT_TRUE((*cuda)->Reserve(*state, count).ok());
    const at::Tensor tokens =
        at::empty({count}, at::TensorOptions().dtype(at::kLong).device(at::kMeta));
    EXPECT_TRUE((*cuda)->decoder().Hidden({tokens, {{0, count, state.get()}}}).is_meta());
  }
  const SamplingParams greedy;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE((*cuda)->Reserve(*state, 1).ok());
    const CudaItem item{state.get(), 1, &greedy, {}, i, {}};
    EXPECT_TRUE((*cuda)->Step({&item, 1}).ok());
  }
  EXPECT_EQ(state->position(), 50);
}

INSTANTIATE_TEST_SUITE_P(Models, CudaDecoderOf, testing::ValuesIn(kGoldenNames),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lfm2
