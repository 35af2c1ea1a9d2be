// The order of a step's calls, its graphs and its memory. That it computes the model is shown in
// tests/model/torch/cuda_decoder_test.cc against the decoder on LibTorch.
#include "model/cuda/decode_step.h"

#include <gtest/gtest.h>

#include <deque>
#include <numeric>

#include "base/errors.h"
#include "tests/model/cuda/values.h"

namespace lfm2 {
namespace {

constexpr int kRows = 6, kBlocks = 64, kTableBlocks = 20;
constexpr int64_t kSlots = 8;

// A model with one layer of every kind, two branches side by side among them, and its pools.
class Model {
 public:
  explicit Model(int dtype) : dtype_(dtype) {
    model_.dtype = dtype;
    model_.vocab = 70;
    model_.width = 12;
    model_.heads = 4;
    model_.kv_heads = 2;
    model_.head_dim = 6;
    model_.taps = 3;
    model_.ssm_states = 2;
    model_.eps = 1e-5F;
    model_.embedding = Weight(int64_t{70} * 12);
    model_.head = Weight(int64_t{70} * 12);
    model_.final_norm = Weight(12);
    model_.frequencies = static_cast<const float*>(New(kLfm2CudaF32, 3, 0.5));
    const int64_t tiles = int64_t{kBlocks} * 2 * kLfm2CudaBlockTokens * 8;
    CudaAttention attention{Linear(12, 8 * 6), Linear(24, 12),       Weight(6),
                            Weight(6),         New(dtype, tiles, 0), New(dtype, tiles, 0)};
    CudaShortConv conv{Linear(12, 36, true), Linear(12, 12, true), Weight(36), Weight(12),
                       New(dtype, kSlots * 2 * 12, 0)};
    const auto floats = [&](int64_t size, double scale) {
      return static_cast<float*>(New(kLfm2CudaF32, size, scale));
    };
    CudaSsmBlock ssm{Linear(12, 24), Linear(12, 12), floats(24, 0.3),       floats(24, 1),
                     floats(24, 1),  floats(12, 1),  floats(kSlots * 24, 0)};
    CudaGatedMlp mlp{Linear(12, 40), Linear(20, 12)};
    model_.stages = {{Weight(12), {attention}}, {Weight(12), {conv}}, {Weight(12), {ssm, mlp}}};
  }

  const CudaModel& get() const { return model_; }

 private:
  void* New(int dtype, int64_t size, double scale) {
    if (scale == 0) return values_.emplace_back(dtype, size).data();
    return values_.emplace_back(Values::Normal(dtype, size, random_, scale)).data();
  }
  const void* Weight(int64_t size) { return New(dtype_, size, 0.5); }
  CudaLinear Linear(int in, int out, bool bias = false) {
    return {Weight(int64_t{in} * out), bias ? Weight(out) : nullptr, in, out};
  }

  const int dtype_;
  std::mt19937_64 random_{16};
  std::deque<Values> values_;
  CudaModel model_;
};

std::unique_ptr<DecodeStep> Make(const CudaContext& context, const Model& model) {
  return DecodeStep::Make(HostCudaFunctions(), context.get(), model.get(), kRows).value();
}

struct Outcome {
  std::vector<int32_t> ids;
  std::vector<std::vector<float>> logits;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Sequences of one model, each with blocks of its own.
class Sequences {
 public:
  Sequences() {
    std::vector<int32_t> ids(kBlocks);
    std::iota(ids.begin(), ids.end(), 0);
    for (size_t i = 0; i < 3; ++i) {
      const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(i * kTableBlocks);
      blocks_.emplace_back(begin, begin + kTableBlocks);
    }
  }

  DecodeRow Next(size_t i) {
    DecodeRow row;
    row.token = static_cast<int32_t>((positions_[i] * 7 + static_cast<int32_t>(i)) % 70);
    row.position = positions_[i]++;
    row.slot = static_cast<int32_t>(2 * i);
    row.blocks = blocks_[i];
    row.sampling.sample = 1;
    row.sampling.temperature = i == 0 ? 0.0 : 0.8;
    row.sampling.top_p = 0.9;
    row.sampling.repetition_penalty = 1;
    row.sampling.seed = 40 + i;
    row.sampling.index = row.position;
    return row;
  }

 private:
  std::vector<std::vector<int32_t>> blocks_;
  int32_t positions_[3] = {0, 0, 0};
};

Outcome RunStep(DecodeStep& step, Sequences& sequences, std::initializer_list<size_t> which) {
  std::vector<DecodeRow> rows;
  for (const size_t i : which) rows.push_back(sequences.Next(i));
  const absl::Status status = step.Run(rows);
  EXPECT_TRUE(status.ok()) << status;
  Outcome out;
  for (size_t i = 0; status.ok() && i < rows.size(); ++i) {
    out.ids.push_back(step.choices()[i].id);
    EXPECT_EQ(step.choices()[i].finite, 1);
    out.logits.push_back(step.ReadLogits(i).value());
  }
  return out;
}

class DecodeSteps : public testing::TestWithParam<int> {
 protected:
  void TearDown() override {
    context_.reset();
    EXPECT_EQ(HostCudaState().bytes, 0);
    EXPECT_EQ(HostCudaState().graphs, 0);
    EXPECT_EQ(HostCudaState().contexts, 0);
    HostCudaState() = HostCuda();
  }
  CudaContext context_ = OpenCudaContext(HostCudaFunctions(), 0).value();
};

// Whoever baked a step's token, position, slot or block into a graph would see it here.
TEST_P(DecodeSteps, ReplaysEqualStepsThatRanAsTheyAre) {
  const Model with_graphs(GetParam()), without(GetParam());
  Sequences a, b;
  const auto step = Make(context_, with_graphs);
  for (int token = 0; token < 300; ++token) {
    const bool all = token % 3 != 0;
    const auto fresh = Make(context_, without);  // its first step of any shape is no graph
    const Outcome replayed = all ? RunStep(*step, a, {2, 0, 1}) : RunStep(*step, a, {1});
    const Outcome plain = all ? RunStep(*fresh, b, {2, 0, 1}) : RunStep(*fresh, b, {1});
    ASSERT_EQ(replayed, plain) << token;
  }
  EXPECT_GT(HostCudaState().replays, 280);
  // Of 1 and 4 rows at two parts: those at one part went when the buffers grew.
  EXPECT_EQ(step->graphs(), 2);
}

// Sequence 0 has the block and the slot that a row which pads the batch would write to if it could.
TEST_P(DecodeSteps, ARowIsBitEqualAloneAndAmongOthers) {
  const Model together(GetParam()), alone(GetParam());
  Sequences a, b;
  const auto step = Make(context_, together), single = Make(context_, alone);
  for (int token = 0; token < 40; ++token) {
    const Outcome three = RunStep(*step, a, {1, 0, 2}), one = RunStep(*single, b, {0});
    ASSERT_EQ(three.logits[1], one.logits[0]);
    ASSERT_EQ(three.ids[1], one.ids[0]);
  }
}

TEST_P(DecodeSteps, WaitsForTheDeviceOncePerStep) {
  const Model model(GetParam());
  Sequences sequences;
  const auto step = Make(context_, model);
  std::vector<DecodeRow> rows = {sequences.Next(0), sequences.Next(1)};
  ASSERT_TRUE(step->Run(rows).ok());
  for (int i = 0; i < 5; ++i) {
    const int64_t waits = HostCudaState().waits;
    rows = {sequences.Next(0), sequences.Next(1)};
    ASSERT_TRUE(step->Run(rows).ok());
    EXPECT_EQ(HostCudaState().waits, waits + 1);
  }
}

TEST_P(DecodeSteps, MasksReachTheirRows) {
  const Model model(GetParam());
  Sequences sequences;
  const auto step = Make(context_, model);
  for (int token = 0; token < 6; ++token) {
    std::vector<DecodeRow> rows = {sequences.Next(0), sequences.Next(1), sequences.Next(2)};
    const std::vector<uint32_t> only_40 = {0, 1U << 8, 0}, only_5 = {1U << 5, 0, 0};
    rows[token % 2 == 0 ? 1 : 2].allowed = only_40;
    rows[0].allowed = only_5;
    ASSERT_TRUE(step->Run(rows).ok());
    EXPECT_EQ(step->choices()[0].id, 5);
    EXPECT_EQ(step->choices()[token % 2 == 0 ? 1 : 2].id, 40);
  }
  // A greedy row whose likeliest token is penalised away from.
  DecodeRow row = sequences.Next(0);
  ASSERT_TRUE(step->Run({&row, 1}).ok());
  const std::vector<float> logits = step->ReadLogits(0).value();
  std::vector<uint32_t> seen(3);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > 0) seen[i / 32] |= 1U << (i % 32);
  }
  --row.position;  // the same token once more
  row.position = std::max(0, row.position);
  row.seen = seen;
  row.sampling.repetition_penalty = 1e9;
  ASSERT_TRUE(step->Run({&row, 1}).ok());
  const std::vector<float> again = step->ReadLogits(0).value();
  const auto id = static_cast<size_t>(step->choices()[0].id);
  EXPECT_TRUE((seen[id / 32] >> (id % 32) & 1U) == 0 || again[id] / 1e9 < 1e-6);
}

TEST_P(DecodeSteps, RefusesRowsThatCannotBeRun) {
  const Model model(GetParam());
  Sequences sequences;
  const auto step = Make(context_, model);
  const DecodeRow good = sequences.Next(0);
  EXPECT_FALSE(step->Run({}).ok());
  const std::vector<DecodeRow> many(kRows + 1, good);
  EXPECT_FALSE(step->Run(many).ok());
  DecodeRow deep = good, unknown = good, short_mask = good;
  deep.position = kTableBlocks * kLfm2CudaBlockTokens;
  unknown.token = 70;
  const std::vector<uint32_t> word(1);
  short_mask.allowed = word;
  for (const DecodeRow& row : {deep, unknown, short_mask}) {
    EXPECT_EQ(DetailsOf(step->Run({&row, 1})).reason, Reason::kInternal);
  }
  EXPECT_TRUE(step->Run({&good, 1}).ok());
}

TEST_P(DecodeSteps, RefusesAModelWhoseHeadsDoNotFit) {
  CudaModel wide = Model(GetParam()).get();
  wide.head_dim = 520;
  const auto step = DecodeStep::Make(HostCudaFunctions(), context_.get(), wide, kRows);
  EXPECT_EQ(DetailsOf(step.status()).reason, Reason::kUnsupported) << step.status();
}

TEST_P(DecodeSteps, AFaultWhileItRecordsLeavesNoGraphAndTheNextStepRuns) {
  const Model model(GetParam());
  Sequences sequences;
  const auto step = Make(context_, model);
  RunStep(*step, sequences, {0});
  // The second step of a shape records. A table whose gemm fails at once, recorded or not.
  static Lfm2CudaFunctions failing = HostCudaFunctions();
  failing.gemm = [](Lfm2CudaContext*, const Lfm2CudaGemm*) { return HostCudaState().fail_gemm; };
  const auto broken = DecodeStep::Make(failing, context_.get(), model.get(), kRows).value();
  HostCudaState().fail_gemm = 700;
  const DecodeRow row = sequences.Next(1);
  EXPECT_EQ(DetailsOf(broken->Run({&row, 1})).reason, Reason::kGpuFault);
  HostCudaState().fail_gemm = 0;
  EXPECT_TRUE(broken->Run({&row, 1}).ok());
  HostCudaState().fail_gemm = 700;
  EXPECT_EQ(DetailsOf(broken->Run({&row, 1})).reason, Reason::kGpuFault);
  EXPECT_EQ(broken->graphs(), 0);
  HostCudaState().fail_gemm = 0;
  EXPECT_TRUE(broken->Run({&row, 1}).ok());
  EXPECT_EQ(broken->graphs(), 1);
}

TEST_P(DecodeSteps, NoMemoryForADepthIsAnErrorAndShallowStepsGoOn) {
  const Model model(GetParam());
  Sequences sequences;
  const auto step = Make(context_, model);
  RunStep(*step, sequences, {0});
  RunStep(*step, sequences, {0});
  DecodeRow deep = sequences.Next(1);
  deep.position = 600;
  HostCudaState().limit = HostCudaState().bytes;
  EXPECT_EQ(DetailsOf(step->Run({&deep, 1})).reason, Reason::kGpuOutOfMemory);
  HostCudaState().limit = HostCuda().limit;
  RunStep(*step, sequences, {0});
  EXPECT_TRUE(step->Run({&deep, 1}).ok());
}

INSTANTIATE_TEST_SUITE_P(EachType, DecodeSteps, testing::ValuesIn(kDtypes));

}  // namespace
}  // namespace lfm2
