// Makes a model from another one and reports what happened to every tensor: copied, converted, left
// fresh, unexpected, wrong shape. Nothing is skipped silently. Rules: model.md section 6.
//
// Same architecture: copies every tensor. LFM2 to hybrid: copies embeddings, final norm, head,
// every norm (operator_norm to both attention_norm and ssm_norm), every feed-forward, and attention
// where both models have it; averages kv heads in groups if fewer are requested; the SSM starts
// fresh. Llama to hybrid: the same with Llama's names. Partial: copies every tensor whose name and
// shape match.
//
// A source without a config (a bare weights file) gets one inferred from its tensors: hybrid when a
// layer has ssm.A_log, LFM2 when one has operator_norm, Llama when one has input_layernorm;
// vocab_size and d_model from embed_tokens; widths, kernel and state size from the first layer that
// has them; layers with q_proj have attention; head_dim from q_layernorm, else from n_heads if
// given, else 64; parallel_residual if there is no ffn_norm; tied if there is no lm_head;
// rope_theta and norm_eps as given, else the architecture's default.
//
// Defaults of a fresh model: hybrid, vocab_size 259 (bytes), d_model 256, 4 layers, attention in
// every second layer (Llama: in every layer), d_model / 64 heads, half as many kv heads,
// feed-forward 3 d_model, 16 SSM states, sequential, tied, rope_theta 10000.
//
// Writes a Hugging Face folder (config.json, model.safetensors, tokenizer files). If the source is
// a quantised GGUF and no tensor changes, it is copied as model.gguf instead, which loses nothing;
// otherwise its tensors become float32. Thread rule: synchronous, one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/model_folder.h"
#include "model/convert/conversion.h"

namespace lfm2 {

// Calls OpenModelFolder. For a bare NPZ it also reads the config from the meta JSON "<stem>.json",
// which an export writes beside it.
absl::StatusOr<ModelFolder> OpenConversionSource(const std::filesystem::path& path);

// Returns the config of the new model: the source's config, or inferred from its tensors
// (vocab_size and d_model), or fresh; values in `shape` override it. kFlagContradictsModel if
// `shape` contradicts values that the source's architecture fixes, naming every such flag with both
// values; kConfigInvalid for other errors. A partial load makes a hybrid by default.
absl::StatusOr<ModelConfig> PlanConfig(const ModelFolder* source, const ConversionSpec& spec);

// A null `source` makes a fresh model. Writes tensors one at a time, in float32 except copied
// tensors of a 16-bit type. kModelExists if the directory exists. Calls `progress` with the numbers
// of tensors done and in total.
absl::StatusOr<ConversionReport> ConvertModel(
    const ModelFolder* source, const ModelConfig& target, const ConversionSpec& spec,
    const std::filesystem::path& out_directory,
    const std::function<void(int64_t, int64_t)>& progress);

}  // namespace lfm2
