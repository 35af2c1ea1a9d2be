// A config from the tensors alone, for weights files that carry none; and the config of a model
// that starts fresh. Thread rule: pure. No LibTorch.
#pragma once

#include "absl/status/statusor.h"
#include "model/convert/conversion.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

inline constexpr int64_t kDefaultHeadDim = 64;

// The rule is stated in convert.h. `hints` are used for what tensors do not tell (num_heads without
// an LFM2 q_layernorm, rope_theta, norm_eps). kConfigInvalid naming what is missing.
absl::StatusOr<ModelConfig> InferConfig(const TensorArchive& weights, const ModelShape& hints);

// What convert.h says of a fresh model, with `shape` laid over it. Not yet checked.
ModelConfig FreshConfig(const ModelShape& shape);

// The same model in the other architecture: sizes stay, what the other one does not have goes, what
// it adds gets its default.
ModelConfig Recast(const ModelConfig& config, Architecture architecture);

}  // namespace lfm2
