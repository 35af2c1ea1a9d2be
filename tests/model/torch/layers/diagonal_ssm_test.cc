#include "model/torch/layers/diagonal_ssm.h"

#include <cmath>
#include <vector>

#include "tests/model/torch/layers/compare.h"

namespace lfm2 {
namespace {

constexpr double kTolerance = 1e-5;

// Leaves of the parameter tree: A_log, B, C, D, log_dt.
struct Leaves {
  at::Tensor A_log, B, C, D, log_dt;

  static Leaves Random(int64_t d, int64_t states) {
    return {at::arange(1, states + 1, at::kFloat).log().expand({d, states}) +
                0.1 * at::randn({d, states}),
            at::randn({d, states}), at::randn({d, states}), at::randn({d}),
            at::empty({d}).uniform_(std::log(1e-3), std::log(1e-1))};
  }
  std::vector<at::Tensor*> all() { return {&A_log, &B, &C, &D, &log_dt}; }
  SsmParameters Discretize() const { return DiscretizeSsm(A_log, B, C, D, log_dt); }
};

SsmResult StepThrough(const SsmParameters& ssm, const at::Tensor& u, at::Tensor state) {
  std::vector<at::Tensor> outputs;
  for (int64_t t = 0; t < u.size(1); ++t) {
    SsmResult step = SsmStep(ssm, u.narrow(1, t, 1), state);
    outputs.push_back(step.y);
    state = step.state;
  }
  return {at::cat(outputs, 1), state};
}

// The convolution theorem: the impulse response of the whole length, multiplied in the frequency
// domain; then what is left of the first state.
at::Tensor FftConvolution(const SsmParameters& ssm, const at::Tensor& u, const at::Tensor& state) {
  const int64_t length = u.size(1);
  const at::Tensor powers =
      (ssm.log_decay.unsqueeze(-1) * at::arange(length + 1, at::kFloat)).exp();
  const at::Tensor kernel = at::einsum("dn,dnl->dl", {ssm.C * ssm.dB, powers.slice(-1, 0, length)});
  const at::Tensor spectrum =
      at::fft_rfft(u.transpose(1, 2), 2 * length) * at::fft_rfft(kernel, 2 * length);
  const at::Tensor driven =
      at::fft_irfft(spectrum, 2 * length).slice(-1, 0, length).transpose(1, 2);
  const at::Tensor left = at::einsum("dn,dnl,bdn->bld", {ssm.C, powers.slice(-1, 1), state});
  return driven + left + ssm.D * u;
}

class SsmLengths : public testing::TestWithParam<int64_t> {};

TEST_P(SsmLengths, StepScanAndFftAgreeFromACarriedState) {
  at::manual_seed(8);
  const SsmParameters ssm = Leaves::Random(12, 16).Discretize();
  const at::Tensor u = at::randn({3, GetParam(), 12}), state = at::randn({3, 12, 16});
  const SsmResult steps = StepThrough(ssm, u, state);
  const SsmResult scan = SsmScan(ssm, u, state);
  EXPECT_LT(RelativeDifference(scan.y, steps.y), kTolerance);
  EXPECT_LT(RelativeDifference(scan.state, steps.state), kTolerance);
  EXPECT_LT(RelativeDifference(FftConvolution(ssm, u, state), steps.y), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Lengths, SsmLengths, testing::Values(1, 2, 31, 32, 33, 64, 100, 515));

TEST(DiagonalSsm, ChunkSizeDoesNotChangeTheAnswer) {
  at::manual_seed(9);
  const SsmParameters ssm = Leaves::Random(4, 8).Discretize();
  const at::Tensor u = at::randn({2, 50, 4}), state = at::randn({2, 4, 8});
  const at::Tensor expected = SsmScan(ssm, u, state).y;
  for (const int64_t chunk : {1, 2, 7, 50, 64}) {
    EXPECT_LT(RelativeDifference(SsmScan(ssm, u, state, chunk).y, expected), kTolerance) << chunk;
  }
}

TEST(DiagonalSsm, ScanHasTheGradientOfTheRecurrence) {
  at::manual_seed(10);
  Leaves leaves = Leaves::Random(5, 8);
  at::Tensor u = at::randn({2, 45, 5}), state = at::randn({2, 5, 8});
  const at::Tensor along_y = at::randn_like(u), along_state = at::randn_like(state);
  std::vector<at::Tensor*> inputs = leaves.all();
  inputs.push_back(&u);
  inputs.push_back(&state);
  const auto gradients = [&](auto evaluate) {
    for (at::Tensor* input : inputs) *input = input->detach().clone().requires_grad_(true);
    const SsmResult result = evaluate(leaves.Discretize(), u, state);
    ((result.y * along_y).sum() + (result.state * along_state).sum()).backward();
    std::vector<at::Tensor> out;
    for (const at::Tensor* input : inputs) out.push_back(input->grad().clone());
    return out;
  };
  const auto scan =
      gradients([](const auto& ssm, const auto& x, const auto& s) { return SsmScan(ssm, x, s); });
  const auto steps = gradients(StepThrough);
  for (size_t i = 0; i < scan.size(); ++i) {
    EXPECT_LT(RelativeDifference(scan[i], steps[i]), kTolerance) << "input " << i;
  }
}

TEST(DiagonalSsm, ForgetsTheStateAtTheRateOfItsDecay) {
  const at::Tensor one = at::ones({1, 1});
  const SsmParameters ssm =
      DiscretizeSsm(one * std::log(2.0), one, one, at::zeros({1}), at::full({1}, std::log(0.25)));
  const SsmResult result = SsmScan(ssm, at::zeros({1, 3, 1}), at::ones({1, 1, 1}));
  EXPECT_NEAR(result.state.item<float>(), std::exp(-2 * 0.25 * 3), 1e-6);
  EXPECT_NEAR(ssm.dB.item<float>(), (1 - std::exp(-0.5)) / 2, 1e-6);
}

}  // namespace
}  // namespace lfm2
