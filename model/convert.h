// A model out of another one, with a report of what became of every tensor: copied, converted, left fresh, unexpected,
// wrong shape. Nothing is skipped silently. Rules: model.md section 6.
//
// Writes a Hugging Face folder (config.json, model.safetensors, tokenizer files). Thread rule: synchronous, one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/formats/config.h"
#include "model/formats/model_folder.h"

namespace lfm2 {

// What the caller wants the new model to be. Unset: inferred from the source, else the class default of fresh models.
struct ModelShape {
  std::optional<Architecture> architecture;
  std::optional<int64_t> vocab_size, hidden_size, num_layers, num_heads, num_kv_heads, intermediate_size, ssm_state_size,
      attn_every, conv_kernel;
  std::optional<bool> parallel_residual, tie_word_embeddings;
  std::optional<double> rope_theta, norm_eps;
};

enum class TensorFate { kCopied, kConverted, kFresh, kUnexpected, kWrongShape };

struct TensorReport {
  std::string name;        // in the new model (in the source for kUnexpected)
  TensorFate fate;
  std::string note;        // "kv heads 8 averaged to 4", "[512, 64] against [256, 64]", …
};

struct ConversionReport {
  std::vector<TensorReport> tensors;
  int64_t Count(TensorFate fate) const;
};

struct ConversionSpec {
  ModelShape shape;
  // partial: every tensor whose name and shape match is copied, all others are fresh or unexpected; otherwise the rules of
  // the two architectures apply and a tensor they cannot place is reported.
  bool partial = false;
  uint64_t seed = 0;
};

// The config the new model will have: from the source's config, or inferred from its tensors (vocab_size and d_model), or
// fresh, with `shape` laid over it. kFlagContradictsModel where the source's architecture fixes a value and `shape` says
// another; kConfigInvalid otherwise.
absl::StatusOr<ModelConfig> PlanConfig(const ModelFolder* source, const ConversionSpec& spec);

// `source` may be null: a fresh model. Tensors are written one at a time in float32 unless the source's type is 16 bit and
// the tensor is copied. `progress` is called with tensors done and total.
absl::StatusOr<ConversionReport> ConvertModel(const ModelFolder* source, const ModelConfig& target,
                                              const ConversionSpec& spec, const std::filesystem::path& out_directory,
                                              const std::function<void(int64_t, int64_t)>& progress);

}  // namespace lfm2
