// The served kernels against transformers (LFM2, float32) and the numpy reference (hybrid,
// float64), with every instruction set that this machine has.
#include <algorithm>
#include <cmath>
#include <map>

#include "model/cpu/parity.h"
#include "tests/model/cpu/cpu_golden.h"

namespace lfm2 {
namespace {

constexpr double kTolerance = 1e-4;

struct Case {
  const char* model;
  Isa isa;
};

std::vector<Case> CasesOf(std::span<const char* const> models) {
  std::vector<Case> cases;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    if (!CanRun(isa)) continue;
    for (const char* model : models) cases.push_back({model, isa});
  }
  return cases;
}

class CpuGoldenOf : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    model_ = LoadCpuGolden(GetParam().model, WeightFormat::kF32, GetParam().isa);
    decoder_ = std::make_unique<CpuDecoder>(model_.weights, TestPool());
    blocks_ = BlocksFor(decoder_->state_shape());
  }
  CpuState NewState() { return CpuState(decoder_->state_shape(), *blocks_, 0); }
  ParityReport Probed(std::span<const int32_t> tokens, size_t chunk) {
    ReportBuilder report(static_cast<int64_t>(tokens.size()), {.values = true, .all_logits = true});
    CpuState state = NewState();
    for (; !tokens.empty(); tokens = tokens.subspan(std::min(chunk, tokens.size()))) {
      const auto part = tokens.first(std::min(chunk, tokens.size()));
      const absl::Status status = RunCpuParity(*decoder_, state, part, report);
      EXPECT_TRUE(status.ok()) << status;
    }
    return report.Finish();
  }
  CpuGolden model_;
  std::unique_ptr<CpuDecoder> decoder_;
  std::unique_ptr<BlockPool> blocks_;
};

class CpuLfm2GoldenOf : public CpuGoldenOf {};

// Golden arrays by the probe that they are; transformers lists the embeddings first and the final
// norm's output last.
std::map<std::string, std::string> ProbesOf(const CpuGolden& model) {
  std::map<std::string, std::string> out;
  const int64_t layers = model.config().num_layers();
  for (int64_t i = 0; i < layers; ++i) {
    const std::string key = "layer." + std::to_string(i);
    const std::string hidden = "hidden." + std::to_string(i + 1);
    if (model.golden.Find(key) != nullptr) {
      out["model.layers." + std::to_string(i)] = key;
    } else if (i + 1 < layers) {
      out["model.layers." + std::to_string(i)] = hidden;
    }
  }
  if (model.golden.Find("hidden.0") != nullptr) {
    out["model.embed_tokens"] = "hidden.0";
    out[model.config().Module(Role::kFinalNorm)] = "hidden." + std::to_string(layers);
  }
  return out;
}

TEST_P(CpuGoldenOf, EveryProbeAndTheLogitsAgree) {
  const ParityReport report = Probed(model_.ids("tokens"), 64);
  const std::map<std::string, std::string> expected = ProbesOf(model_);
  size_t seen = 0;
  for (const Probe& probe : report.probes) {
    const auto found = expected.find(probe.name);
    if (found == expected.end()) continue;
    ++seen;
    EXPECT_LT(LargestDifference(probe.values, model_.values(found->second)), kTolerance)
        << probe.name;
  }
  EXPECT_EQ(seen, expected.size());
  EXPECT_LT(LargestDifference(report.logits, model_.values("logits")), kTolerance);
}

TEST_P(CpuGoldenOf, ProbesAreTheSameBitForBitInChunksOfAnySize) {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 150; ++i) {
    tokens.push_back(static_cast<int32_t>((i * 37 + i * i) % model_.config().vocab_size));
  }
  const ParityReport whole = Probed(tokens, tokens.size());
  for (const size_t chunk : {1, 7, 64, 100}) {
    const ParityReport report = Probed(tokens, chunk);
    EXPECT_EQ(report.logits, whole.logits) << chunk;
    ASSERT_EQ(report.probes.size(), whole.probes.size());
    for (size_t i = 0; i < report.probes.size(); ++i) {
      const Probe &ours = report.probes[i], &theirs = whole.probes[i];
      EXPECT_EQ(ours.shape, theirs.shape) << ours.name;
      EXPECT_EQ(ours.sum, theirs.sum) << ours.name;
      EXPECT_EQ(ours.norm, theirs.norm) << ours.name;
      EXPECT_EQ(ours.values, theirs.values) << ours.name << " " << chunk;
    }
  }
}

TEST_P(CpuGoldenOf, TokenByTokenDecodeGivesTheSameLogits) {
  const std::vector<int32_t> tokens = model_.ids("tokens");
  CpuState state = NewState();
  std::vector<float> logits;
  for (const int32_t token : tokens) {
    const std::vector<float> row = RunTokens(*decoder_, state, {&token, 1}, LogitRows::kLast);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  EXPECT_EQ(state.position(), static_cast<int64_t>(tokens.size()));
  EXPECT_LT(LargestDifference(logits, model_.values("logits")), kTolerance);
  CpuState whole = NewState();
  EXPECT_EQ(RunTokens(*decoder_, whole, tokens, LogitRows::kAll), logits);
}

TEST_P(CpuLfm2GoldenOf, GreedyTokensAreEqual) {
  std::vector<int32_t> next = model_.ids("tokens");
  next.resize(4);
  CpuState state = NewState();
  for (const int32_t expected : model_.ids("greedy")) {
    const std::vector<float> row = RunTokens(*decoder_, state, next, LogitRows::kLast);
    next = {static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin())};
    ASSERT_EQ(next[0], expected);
  }
}

std::string NameOfCase(const testing::TestParamInfo<Case>& param) {
  std::string name = std::string(param.param.model) + "_" + IsaName(param.param.isa);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Models, CpuGoldenOf, testing::ValuesIn(CasesOf(kCpuGoldenNames)),
                         NameOfCase);
INSTANTIATE_TEST_SUITE_P(Models, CpuLfm2GoldenOf, testing::ValuesIn(CasesOf(kCpuLfm2GoldenNames)),
                         NameOfCase);

}  // namespace
}  // namespace lfm2
