#include "model/torch/state.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "tests/parity/golden_model.h"

namespace lfm2 {
namespace {

at::Tensor Heads(int64_t tokens, float value) { return at::full({tokens, 2, 16}, value); }

SequenceState NewLfm2State() {
  return {*ReadModelConfig(GoldenPath("lfm2-tiny")), at::kCPU, at::kFloat};
}

TEST(SequenceState, AppendsKeysAndValuesAcrossGrowth) {
  SequenceState state = NewLfm2State();
  at::Tensor k, v;
  for (int64_t i = 0; i < 100; ++i) {
    std::tie(k, v) =
        state.AppendKv(2, Heads(1, static_cast<float>(i)), Heads(1, static_cast<float>(-i)));
    state.Advance(1);
  }
  EXPECT_EQ(k.sizes(), at::IntArrayRef({100, 2, 16}));
  EXPECT_TRUE(at::equal(k.select(1, 0).select(1, 0), at::arange(100, at::kFloat)));
  EXPECT_TRUE(at::equal(v.select(1, 1).select(1, 3), -at::arange(100, at::kFloat)));
}

TEST(SequenceState, GrowsByDoublingSoThatAppendingIsLinear) {
  SequenceState state = NewLfm2State();
  int grown = 0;
  const void* storage = nullptr;
  for (int64_t i = 0; i < 1024; ++i) {
    const at::Tensor k = state.AppendKv(2, Heads(1, 0), Heads(1, 0)).first;
    if (k.const_data_ptr() != storage) ++grown;
    storage = k.const_data_ptr();
    state.Advance(1);
  }
  EXPECT_LE(grown, 6);
}

TEST(SequenceState, AppendingAgainBeforeAdvancingOverwrites) {
  SequenceState state = NewLfm2State();
  state.AppendKv(2, Heads(3, 1), Heads(3, 1));
  EXPECT_EQ(state.AppendKv(2, Heads(2, 5), Heads(2, 5)).first.size(0), 2);
}

TEST(SequenceState, CloneIsIndependentAndHoldsNoSpareCapacity) {
  SequenceState state = NewLfm2State();
  state.AppendKv(2, Heads(3, 1), Heads(3, 1));
  state.Advance(3);
  state.SetConv(0, at::ones({64, 2}));
  const auto copy = state.Clone();
  EXPECT_EQ(copy->position(), 3);
  EXPECT_LT(copy->bytes(), state.bytes());
  state.SetConv(0, at::zeros({64, 2}));
  state.AppendKv(2, Heads(1, 9), Heads(1, 9));
  EXPECT_TRUE(at::equal(copy->conv(0), at::ones({64, 2})));
  const at::Tensor k = copy->AppendKv(2, Heads(1, 2), Heads(1, 2)).first;
  EXPECT_TRUE(at::equal(k, at::cat({Heads(3, 1), Heads(1, 2)})));
}

TEST(SequenceState, CountsTheBytesItHolds) {
  SequenceState lfm2 = NewLfm2State();
  EXPECT_EQ(lfm2.bytes(), 3 * 64 * 2 * 4);
  lfm2.AppendKv(2, Heads(40, 1), Heads(40, 1));
  EXPECT_EQ(lfm2.bytes(), 3 * 64 * 2 * 4 + 2 * 40 * 2 * 16 * 4);
  const SequenceState hybrid(*ReadModelConfig(GoldenPath("hybrid-parallel")), at::kCPU,
                             at::kBFloat16);
  EXPECT_EQ(hybrid.bytes(), 4 * 64 * 16 * 4)
      << "SSM states are float32 whatever the activations are";
}

TEST(SequenceState, StorageMadeUnderInferenceModeCanBeWrittenOutsideOfIt) {
  const GoldenModel model = LoadGolden("lfm2-tiny");
  const Decoder decoder = model.decoder();
  const auto state = decoder.NewState();
  {
    const c10::InferenceMode inference;
    decoder.Hidden({model.tokens(), {{0, 32, state.get()}}});
  }
  EXPECT_NO_THROW(decoder.Hidden({model.tokens(), {{0, 32, state.get()}}}));
  EXPECT_EQ(state->position(), 64);
}

TEST(SequenceState, CarriesNoGradient) {
  const GoldenModel model = LoadGolden("hybrid-sequential");
  for (auto& [name, tensor] : model.weights->mutable_tensors()) tensor.requires_grad_(true);
  const Decoder decoder = model.decoder();
  const auto state = decoder.NewState();
  decoder.Hidden({model.tokens(), {{0, 36, state.get()}}});
  EXPECT_FALSE(state->ssm(0).requires_grad());
  EXPECT_NO_THROW(decoder.Hidden({model.tokens(), {{0, 36, state.get()}}}));
}

}  // namespace
}  // namespace lfm2
