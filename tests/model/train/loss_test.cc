#include "model/train/loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace lfm2 {
namespace {

struct Problem {
  at::Tensor hidden, head, targets;
};

Problem MakeProblem(at::ScalarType dtype, int64_t n = 13, int64_t d = 8, int64_t vocab = 37) {
  at::manual_seed(3);
  return {at::randn({n, d}).to(dtype).requires_grad_(true),
          at::randn({vocab, d}).to(dtype).requires_grad_(true), at::randint(vocab, {n}, at::kLong)};
}

at::Tensor Plain(const Problem& p) {
  return at::cross_entropy_loss(at::matmul(p.hidden, p.head.t()).to(at::kFloat), p.targets, {},
                                at::Reduction::Sum);
}

struct Answer {
  at::Tensor loss, hidden_grad, head_grad;
};

Answer Differentiate(const Problem& p, const at::Tensor& loss) {
  // A factor before backward, so that the upstream gradient is seen to be used.
  const auto grads = torch::autograd::grad({loss * 0.25}, {p.hidden, p.head});
  return {loss.detach(), grads[0], grads[1]};
}

TEST(ChunkedCrossEntropy, EqualsThePlainOneWhateverTheChunk) {
  const Problem p = MakeProblem(at::kFloat);
  const Answer plain = Differentiate(p, Plain(p));
  for (int64_t elements :
       {int64_t{1}, int64_t{37}, int64_t{100}, int64_t{37 * 5}, int64_t{1} << 20}) {
    const Answer ours =
        Differentiate(p, ChunkedCrossEntropySum(p.hidden, p.head, p.targets, elements));
    EXPECT_TRUE(at::allclose(ours.loss, plain.loss, 1e-5, 1e-5)) << elements;
    EXPECT_TRUE(at::allclose(ours.hidden_grad, plain.hidden_grad, 1e-4, 1e-6)) << elements;
    EXPECT_TRUE(at::allclose(ours.head_grad, plain.head_grad, 1e-4, 1e-6)) << elements;
  }
}

TEST(ChunkedCrossEntropy, AddsUpChunksInFloat32WhenTheModelIsBfloat16) {
  const Problem p = MakeProblem(at::kBFloat16, 64);
  const Answer plain = Differentiate(p, Plain(p));
  const Answer ours = Differentiate(p, ChunkedCrossEntropySum(p.hidden, p.head, p.targets, 37 * 4));
  EXPECT_EQ(ours.loss.scalar_type(), at::kFloat);
  EXPECT_EQ(ours.hidden_grad.scalar_type(), at::kBFloat16);
  EXPECT_NEAR(ours.loss.item<float>(), plain.loss.item<float>(), 1e-2);
  EXPECT_TRUE(
      at::allclose(ours.head_grad.to(at::kFloat), plain.head_grad.to(at::kFloat), 2e-2, 2e-2));
}

TEST(ChunkedCrossEntropy, SurvivesLogitsThatOverflowAnUnshiftedExponential) {
  Problem p = MakeProblem(at::kFloat);
  p.hidden = (p.hidden.detach() * 1e3).requires_grad_(true);
  const Answer ours = Differentiate(p, ChunkedCrossEntropySum(p.hidden, p.head, p.targets, 64));
  EXPECT_TRUE(at::isfinite(ours.loss).item<bool>());
  EXPECT_TRUE(at::isfinite(ours.hidden_grad).all().item<bool>());
}

TEST(ChunkedCrossEntropy, GivesTheLossWithoutGradientsUnderNoGrad) {
  const Problem p = MakeProblem(at::kFloat);
  const at::NoGradGuard no_grad;
  const at::Tensor loss = ChunkedCrossEntropySum(p.hidden, p.head, p.targets, 64);
  EXPECT_FALSE(loss.requires_grad());
  EXPECT_TRUE(at::allclose(loss, Plain(p), 1e-5, 1e-5));
}

}  // namespace
}  // namespace lfm2
