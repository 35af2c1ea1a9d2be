#include "model/cpu/linear.h"

#include <functional>
#include <utility>

#include "base/errors.h"
#include "model/cpu/pass.h"
#include "model/kernels/matmul/matmul.h"
#include "tests/model/cpu/random_model.h"

namespace lfm2 {
namespace {

constexpr int64_t kIn = 70, kRank = 5, kTokens = 9;
constexpr int64_t kRows[] = {48, 17, 17};  // of the parts; all but the first end within a panel
constexpr int64_t kAllRows = 82;
constexpr float kScale = 0.75F;

using Values = std::vector<float>;

struct Kind {
  WeightFormat format;
  Isa isa;
};

std::vector<Kind> AllKinds() {
  std::vector<Kind> kinds;
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512BF16, Isa::kAmx}) {
    if (!CanRun(isa)) continue;
    kinds.push_back({WeightFormat::kF32, isa});
    kinds.push_back({WeightFormat::kBF16, isa});
    kinds.push_back({WeightFormat::kInt8, isa});
  }
  return kinds;
}

TensorView View(const std::string& name, const Values& values, int64_t rows, int64_t cols) {
  TensorView view;
  view.name = name;
  view.shape = {rows, cols};
  view.data = reinterpret_cast<const std::byte*>(values.data());
  view.bytes = rows * cols * static_cast<int64_t>(sizeof(float));
  return view;
}

Reason Refusal(const absl::Status& status) { return DetailsOf(status).reason; }

// Three stacked linears and one input, with everything that a pass needs around them.
class CpuLinearOf : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    weights_ = Normal(kAllRows * kIn);
    x_ = Normal(kTokens * kIn);
    linear_.emplace(Stack());
  }

  Values Normal(int64_t size) {
    std::normal_distribution<float> normal;
    Values out(static_cast<size_t>(size));
    for (float& value : out) value = normal(random_);
    return out;
  }

  CpuLinear Stack() const {
    const TensorView view = View("weights", weights_, kAllRows, kIn);
    auto matrix = PackedMatrix::Pack({&view, 1}, GetParam().format, GetParam().isa, TestPool());
    EXPECT_TRUE(matrix.ok()) << matrix.status();
    return {*std::move(matrix), {}, {}, {{kRows[0], "q"}, {kRows[1], "k"}, {kRows[2], "v"}}};
  }

  absl::StatusOr<CpuLowRank> Pair(const Values& a, const Values& b, int64_t rows,
                                  int64_t in = kIn) const {
    return CpuLowRank::Pack(View("lora_A", a, kRank, in), View("lora_B", b, rows, kRank), kScale,
                            GetParam().isa, TestPool());
  }

  void WithPass(int64_t tokens, const CpuProbeSink* probes,
                const std::function<void(const CpuPass&)>& run) {
    const CpuPass pass{.spans = {},
                       .begins = {},
                       .checkpoints = {},
                       .row_span = {},
                       .logit_rows = {},
                       .tiles = {},
                       .rows = tokens,
                       .probes = probes,
                       .kernels = LayerKernelsFor(GetParam().isa),
                       .shape = shape_,
                       .work = work_,
                       .pool = TestPool()};
    run(pass);
  }

  Values Run(const CpuLinear& linear, const CpuProbeSink* probes = nullptr) {
    Values y(static_cast<size_t>(kTokens * kAllRows));
    WithPass(kTokens, probes, [&](const CpuPass& pass) { linear.Run(x_.data(), y.data(), pass); });
    return y;
  }

  // y[row][begin + i] += scale * (B (A x[row]))[i], in float64.
  void PlainLowRank(const Values& a, const Values& b, int64_t begin, int64_t rows,
                    std::vector<double>& y) const {
    for (int64_t token = 0; token < kTokens; ++token) {
      std::vector<double> narrow(kRank);
      for (int64_t i = 0; i < kRank * kIn; ++i) {
        narrow[i / kIn] += double{a[i]} * double{x_[token * kIn + i % kIn]};
      }
      for (int64_t i = 0; i < rows * kRank; ++i) {
        y[token * kAllRows + begin + i / kRank] += kScale * double{b[i]} * narrow[i % kRank];
      }
    }
  }

  std::mt19937_64 random_{7};
  Values weights_, x_;
  std::optional<CpuLinear> linear_;
  StateShape shape_;
  CpuWorkspace work_;
};

TEST_P(CpuLinearOf, AloneItIsTheMatrixProduct) {
  Values y(static_cast<size_t>(kTokens * kAllRows));
  MatMul(linear_->matrix, x_.data(), kTokens, y.data(), TestPool());
  EXPECT_EQ(Run(*linear_), y);
}

TEST_P(CpuLinearOf, TheBiasIsAddedToEveryRow) {
  Values expected = Run(*linear_);
  linear_->bias = Normal(kAllRows);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += linear_->bias[i % kAllRows];
  EXPECT_EQ(Run(*linear_), expected);
}

TEST_P(CpuLinearOf, AnAdapterAddsItsPairsToTheirParts) {
  const Values y = Run(*linear_);
  std::vector<double> expected(y.begin(), y.end());
  const Values qa = Normal(kRank * kIn), qb = Normal(kRows[0] * kRank);
  const Values va = Normal(kRank * kIn), vb = Normal(kRows[2] * kRank);
  PlainLowRank(qa, qb, 0, kRows[0], expected);
  PlainLowRank(va, vb, kRows[0] + kRows[1], kRows[2], expected);

  ASSERT_TRUE(linear_->Adapt(0, *Pair(qa, qb, kRows[0])).ok());
  ASSERT_TRUE(linear_->Adapt(2, *Pair(va, vb, kRows[2])).ok());
  EXPECT_LT(LargestDifference(Run(*linear_), expected), 1e-4);
}

TEST_P(CpuLinearOf, APartWithoutAPairKeepsItsBits) {
  const Values before = Run(*linear_);
  const Values a = Normal(kRank * kIn), b = Normal(kRows[1] * kRank);
  ASSERT_TRUE(linear_->Adapt(1, *Pair(a, b, kRows[1])).ok());
  const Values after = Run(*linear_);
  int64_t changed = 0;
  for (int64_t i = 0; i < kTokens * kAllRows; ++i) {
    const int64_t column = i % kAllRows;
    const bool of_part = column >= kRows[0] && column < kRows[0] + kRows[1];
    if (of_part) {
      changed += before[i] != after[i] ? 1 : 0;
    } else {
      ASSERT_EQ(before[i], after[i]) << "at " << i;
    }
  }
  EXPECT_EQ(changed, kTokens * kRows[1]);
}

// Rows 0 to 3 have one adapter, 4 has none, 5 to 8 have another.
TEST_P(CpuLinearOf, RowsGroupedByAdapterEqualEachAdapterAlone) {
  CpuLinear first = Stack(), second = Stack();
  const Values a = Normal(kRank * kIn), b = Normal(kRows[0] * kRank);
  const Values c = Normal(kRank * kIn), d = Normal(kRows[1] * kRank);
  ASSERT_TRUE(first.Adapt(0, *Pair(a, b, kRows[0])).ok());
  ASSERT_TRUE(second.Adapt(1, *Pair(c, d, kRows[1])).ok());

  Values y = Run(*linear_);
  Values expected = y;
  const Values of_first = Run(first), of_second = Run(second);
  std::copy_n(of_first.begin(), 4 * kAllRows, expected.begin());
  std::copy_n(of_second.begin() + 5 * kAllRows, 4 * kAllRows, expected.begin() + 5 * kAllRows);

  WithPass(kTokens, nullptr, [&](const CpuPass& pass) {
    linear_->AddAdapter(first.adapter, x_.data(), 4, y.data(), pass);
    linear_->AddAdapter(second.adapter, x_.data() + 5 * kIn, 4, y.data() + 5 * kAllRows, pass);
  });
  EXPECT_EQ(y, expected);
}

TEST_P(CpuLinearOf, EveryPartIsProbedByNameWithBiasAndAdapterInIt) {
  linear_->bias = Normal(kAllRows);
  const Values a = Normal(kRank * kIn), b = Normal(kRows[1] * kRank);
  ASSERT_TRUE(linear_->Adapt(1, *Pair(a, b, kRows[1])).ok());
  std::vector<std::string> names;
  std::vector<Values> seen;
  const CpuProbeSink sink = [&](const std::string& name, std::span<const float> values,
                                const std::vector<int64_t>& shape) {
    EXPECT_EQ(shape, (std::vector<int64_t>{kTokens, kRows[names.size()]}));
    names.push_back(name);
    seen.emplace_back(values.begin(), values.end());
  };
  const Values y = Run(*linear_, &sink);
  ASSERT_EQ(names, (std::vector<std::string>{"q", "k", "v"}));
  int64_t begin = 0;
  for (size_t part = 0; part < 3; ++part) {
    for (int64_t i = 0; i < kTokens * kRows[part]; ++i) {
      const int64_t row = i / kRows[part], column = begin + i % kRows[part];
      ASSERT_EQ(seen[part][i], y[row * kAllRows + column]) << names[part] << " at " << i;
    }
    begin += kRows[part];
  }
}

TEST_P(CpuLinearOf, APartWithoutANameIsNotProbed) {
  linear_->parts[1].probe.clear();
  std::vector<std::pair<std::string, float>> firsts;
  const CpuProbeSink sink = [&](const std::string& name, std::span<const float> values,
                                const std::vector<int64_t>&) {
    firsts.emplace_back(name, values[0]);
  };
  const Values y = Run(*linear_, &sink);
  EXPECT_EQ(firsts, (std::vector<std::pair<std::string, float>>{{"q", y[0]}, {"v", y[65]}}));
}

TEST_P(CpuLinearOf, SizesThatDoNotFitAreRefused) {
  const Values values = Normal(kAllRows * kIn);
  EXPECT_EQ(Refusal(linear_->Adapt(0, *Pair(values, values, kRows[1]))), Reason::kWeightsMismatch);
  EXPECT_EQ(Refusal(linear_->Adapt(0, *Pair(values, values, kRows[0], kIn - 1))),
            Reason::kWeightsMismatch);
  EXPECT_EQ(Refusal(linear_->Adapt(3, *Pair(values, values, kRows[0]))), Reason::kInternal);
  const auto ranks_differ =
      CpuLowRank::Pack(View("lora_A", values, kRank, kIn), View("lora_B", values, 3, kRank + 1),
                       kScale, GetParam().isa, TestPool());
  EXPECT_EQ(Refusal(ranks_differ.status()), Reason::kWeightsMismatch);
  EXPECT_TRUE(linear_->adapter.empty());
}

TEST_P(CpuLinearOf, ItsBytesAreThoseOfAllThatItHolds) {
  const int64_t bare = linear_->bytes();
  EXPECT_EQ(bare, linear_->matrix.bytes());
  linear_->bias = Normal(kAllRows);
  EXPECT_EQ(linear_->bytes(), bare + kAllRows * 4);
  const Values values = Normal(kRows[0] * kIn);
  auto pair = Pair(values, values, kRows[0]);
  const int64_t of_pair = pair->bytes();
  ASSERT_TRUE(linear_->Adapt(0, *std::move(pair)).ok());
  EXPECT_EQ(linear_->bytes(), bare + kAllRows * 4 + of_pair);
}

std::string NameOfKind(const testing::TestParamInfo<Kind>& kind) {
  return std::string(WeightFormatName(kind.param.format)) + "_" + IsaName(kind.param.isa);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CpuLinearOf, testing::ValuesIn(AllKinds()), NameOfKind);

}  // namespace
}  // namespace lfm2
