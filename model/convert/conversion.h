// The request for a conversion, and its report. Thread rule: plain data. No LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/arch/config.h"

namespace lfm2 {

// The caller's choices for the new model. An unset value is inferred from the source, else it is
// the default for fresh models.
struct ModelShape {
  std::optional<Architecture> architecture;
  std::optional<int64_t> vocab_size, hidden_size, num_layers, num_heads, num_kv_heads,
      intermediate_size, ssm_state_size, attn_every, conv_kernel;
  std::optional<bool> parallel_residual, tie_word_embeddings;
  std::optional<double> rope_theta, norm_eps;
};

enum class TensorFate { kCopied, kConverted, kFresh, kUnexpected, kWrongShape };

struct TensorReport {
  std::string name;  // in the new model; in the source if kUnexpected
  TensorFate fate;
  std::string note;  // "kv heads 8 averaged to 4", "[512, 64] against [256, 64]", …
};

struct ConversionReport {
  std::vector<TensorReport> tensors;
  int64_t Count(TensorFate fate) const;
};

struct ConversionSpec {
  ModelShape shape;
  // True: copies every tensor whose name and shape match; all others are fresh or unexpected.
  // False: applies the rules for the two architectures and reports tensors without a rule.
  bool partial = false;
  uint64_t seed = 0;
};

}  // namespace lfm2
