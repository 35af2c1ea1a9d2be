#include "model/train/optimizer.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace lfm2 {
namespace {

// What a plan promises, against what a run holds.
TEST(Optimizer, SaysTheBytesOfItsState) {
  const TrainSpec spec;
  NamedTensors parameters = {{"model.norm.weight", at::ones({5}).requires_grad_(true)},
                             {"model.embed_tokens.weight", at::ones({7, 3}).requires_grad_(true)}};
  const auto optimizer = MakeOptimizer(parameters, spec);
  int64_t bytes = 0;
  for (const auto& [name, tensor] : optimizer->state()) {
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  EXPECT_EQ(bytes, (5 + 7 * 3) * optimizer->state_bytes_per_parameter());
  EXPECT_EQ(MakeOptimizer({}, spec)->state_bytes_per_parameter(),
            optimizer->state_bytes_per_parameter());
}

}  // namespace
}  // namespace lfm2
