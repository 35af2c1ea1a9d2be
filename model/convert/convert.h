// A model out of another one, with a report of what became of every tensor: copied, converted, left
// fresh, unexpected, wrong shape. Nothing is skipped silently. Rules: model.md section 6.
//
// Same architecture: every tensor 1:1. LFM2 to hybrid: embeddings, final norm, head, every norm
// (operator_norm feeds both attention_norm and ssm_norm) and feed-forward, attention where both
// have it; kv heads averaged in groups when fewer are asked for; the SSM starts fresh. Llama to
// hybrid: the same with Llama's names. Partial: every tensor whose name and shape match.
//
// A source without a config (a bare weights file) gets one inferred from its tensors: hybrid when a
// layer has ssm.A_log, LFM2 when one has operator_norm, Llama when one has input_layernorm;
// vocab_size and d_model from embed_tokens; widths, kernel and state size from the first layer that
// has them; layers that have q_proj attend; head_dim from q_layernorm, else from n_heads when
// given, else 64; parallel_residual when there is no ffn_norm; tied when there is no lm_head;
// rope_theta and norm_eps as given, else the architecture's default.
//
// A fresh model is, unless told otherwise: hybrid, vocab_size 259 (bytes), d_model 256, 4 layers,
// attention in every second (Llama: in every one), d_model / 64 heads, half as many kv heads,
// feed-forward 3 d_model, 16 SSM states, sequential, tied, rope_theta 10000.
//
// Writes a Hugging Face folder (config.json, model.safetensors, tokenizer files). A quantised GGUF
// of which every tensor stays as it is goes in as model.gguf instead, so nothing is lost; in every
// other case its tensors become float32. Thread rule: synchronous, one thread.
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

// OpenModelFolder, and for a bare NPZ the config in the meta JSON "<stem>.json" that an export
// writes beside it.
absl::StatusOr<ModelFolder> OpenConversionSource(const std::filesystem::path& path);

// The config the new model will have: from the source's config, or inferred from its tensors
// (vocab_size and d_model), or fresh, with `shape` laid over it. kFlagContradictsModel where the
// source's architecture fixes a value and `shape` says another, every such flag with both values;
// kConfigInvalid otherwise. A partial load makes a hybrid unless told otherwise.
absl::StatusOr<ModelConfig> PlanConfig(const ModelFolder* source, const ConversionSpec& spec);

// `source` may be null: a fresh model. Tensors are written one at a time in float32 unless the
// source's type is 16 bit and the tensor is copied. kModelExists when the directory is there.
// `progress` is called with tensors done and total.
absl::StatusOr<ConversionReport> ConvertModel(
    const ModelFolder* source, const ModelConfig& target, const ConversionSpec& spec,
    const std::filesystem::path& out_directory,
    const std::function<void(int64_t, int64_t)>& progress);

}  // namespace lfm2
