#include "model/train/learner.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

using testing::MakeLearner;
using testing::RandomBatch;
using testing::TinyHybrid;
using testing::TinyLfm2;

std::vector<ModelConfig> BothArchitectures() { return {TinyHybrid(), TinyLfm2()}; }

PackedBatch Concatenate(const std::vector<PackedBatch>& parts) {
  PackedBatch out;
  for (const PackedBatch& part : parts) {
    const auto shift = static_cast<int64_t>(out.tokens.size());
    out.tokens.insert(out.tokens.end(), part.tokens.begin(), part.tokens.end());
    out.targets.insert(out.targets.end(), part.targets.begin(), part.targets.end());
    for (const Segment& s : part.segments) out.segments.push_back({s.begin + shift, s.length});
    for (int64_t row : part.rows) out.rows.push_back(row + shift);
  }
  return out;
}

NamedTensors GradientsOf(const Learner& learner) {
  NamedTensors out;
  for (const auto& [name, parameter] : learner.parameters()) out[name] = parameter.grad().clone();
  return out;
}

void ExpectClose(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, tensor] : a) {
    const double scale = tensor.abs().max().item<float>() + 1e-12;
    const double worst = (tensor - b.at(name)).abs().max().item<float>();
    EXPECT_LT(worst / scale, 1e-4) << name;
  }
}

TEST(Learner, PackedLossAndGradientsEqualUnpackedOnes) {
  for (const ModelConfig& config : BothArchitectures()) {
    const std::vector<PackedBatch> documents = {
        RandomBatch(5, config.vocab_size, 1), RandomBatch(1, config.vocab_size, 2),
        RandomBatch(9, config.vocab_size, 3), RandomBatch(9, config.vocab_size, 4)};
    const auto packed = MakeLearner(config, {}), unpacked = MakeLearner(config, {});
    const double together = packed->AccumulateGradients(Concatenate(documents), 24).item<float>();
    double apart = 0;
    for (const PackedBatch& document : documents) {
      apart += unpacked->AccumulateGradients(document, 24).item<float>();
    }
    EXPECT_NEAR(together, apart, 1e-5);
    ExpectClose(GradientsOf(*packed), GradientsOf(*unpacked));
  }
}

TEST(Learner, AccumulationOfEightEqualsABatchOfEight) {
  const ModelConfig config = TinyHybrid();
  std::vector<PackedBatch> rows;
  for (uint64_t i = 0; i < 8; ++i) rows.push_back(RandomBatch(12, config.vocab_size, 10 + i));
  // Rows of unequal size: a mean of means would differ.
  rows[3] = RandomBatch(2, config.vocab_size, 99);
  const int64_t targets = 7 * 12 + 2;
  const auto whole = MakeLearner(config, {}), parts = MakeLearner(config, {});
  const double whole_loss = whole->AccumulateGradients(Concatenate(rows), targets).item<float>();
  double parts_loss = 0;
  for (const PackedBatch& row : rows) {
    parts_loss += parts->AccumulateGradients(row, targets).item<float>();
  }
  EXPECT_NEAR(whole_loss, parts_loss, 1e-5);
  ExpectClose(GradientsOf(*whole), GradientsOf(*parts));
}

TEST(Learner, OnlyPositionsThatPredictCount) {
  const ModelConfig config = TinyHybrid();
  PackedBatch batch = RandomBatch(8, config.vocab_size, 5);
  PackedBatch fewer = batch;
  fewer.rows.resize(3);
  fewer.targets.resize(3);
  PackedBatch prefix = RandomBatch(3, config.vocab_size, 5);
  const auto learner = MakeLearner(config, {});
  EXPECT_NEAR(learner->EvalLossSum(fewer).item<float>(), learner->EvalLossSum(prefix).item<float>(),
              1e-4);
}

TEST(Learner, TrainsEveryParameterOfBothArchitectures) {
  for (const ModelConfig& config : BothArchitectures()) {
    const auto learner = MakeLearner(config, {});
    NamedTensors before;
    for (const auto& [name, p] : learner->parameters()) before[name] = p.detach().clone();
    learner->AccumulateGradients(RandomBatch(16, config.vocab_size, 1), 16);
    learner->ClipGradients();
    learner->Update(0, 1e-2);
    for (const auto& [name, p] : learner->parameters()) {
      EXPECT_FALSE(at::equal(before[name], p)) << name;
      EXPECT_FALSE(p.grad().defined()) << name;
    }
  }
}

TEST(Learner, AWholeStepRunsOnTheMetaDeviceWithoutACpuTensor) {
  for (const ModelConfig& config : BothArchitectures()) {
    for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const auto learner = MakeLearner(config, {}, at::kMeta, dtype);
      const PackedBatch batch = Concatenate(
          {RandomBatch(40, config.vocab_size, 1), RandomBatch(3, config.vocab_size, 2)});
      const at::Tensor loss = learner->AccumulateGradients(batch, 43);
      const at::Tensor norm = learner->ClipGradients();
      learner->Update(0, 1e-3);
      EXPECT_TRUE(loss.is_meta());
      EXPECT_TRUE(norm.is_meta());
      for (const auto& [name, p] : learner->parameters()) EXPECT_TRUE(p.is_meta()) << name;
      for (const auto& [name, m] : learner->optimizer_state()) EXPECT_TRUE(m.is_meta()) << name;
    }
  }
}

TEST(Learner, InBfloat16KeepsMastersInFloat32AndComesCloseToFloat32) {
  for (const ModelConfig& config : BothArchitectures()) {
    const PackedBatch batch = RandomBatch(24, config.vocab_size, 1);
    const auto exact = MakeLearner(config, {});
    const auto rounded = MakeLearner(config, {}, at::kCPU, at::kBFloat16);
    const double a = exact->AccumulateGradients(batch, 24).item<float>();
    const double b = rounded->AccumulateGradients(batch, 24).item<float>();
    EXPECT_NEAR(a, b, 0.02);
    for (const auto& [name, p] : rounded->parameters()) {
      EXPECT_EQ(p.scalar_type(), at::kFloat) << name;
      EXPECT_EQ(p.grad().scalar_type(), at::kFloat) << name;
    }
  }
}

}  // namespace
}  // namespace lfm2
