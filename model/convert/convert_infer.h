// Infers a config from tensors, for weights files without one; also makes the config of a fresh
// model. Thread rule: pure. No LibTorch.
#pragma once

#include "absl/status/statusor.h"
#include "model/convert/conversion.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

inline constexpr int64_t kDefaultHeadDim = 64;

// The rules are in convert.h. `hints` give what cannot be inferred from tensors (num_heads without
// an LFM2 q_layernorm, rope_theta, norm_eps). kConfigInvalid naming what is missing.
absl::StatusOr<ModelConfig> InferConfig(const TensorArchive& weights, const ModelShape& hints);

// The defaults of a fresh model (convert.h), overridden by `shape`. Not yet checked.
ModelConfig FreshConfig(const ModelShape& shape);

// The same model in another architecture: keeps the sizes, removes what the new architecture does
// not have, and sets what it adds to the default.
ModelConfig Recast(const ModelConfig& config, Architecture architecture);

}  // namespace lfm2
