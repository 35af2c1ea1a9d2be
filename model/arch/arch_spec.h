// Describes an architecture. Each one has one such table in its own file (lfm2.cc, hybrid.cc,
// llama.cc); no other file depends on it. Thread rule: const data and pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "base/json.h"
#include "model/arch/architecture.h"
#include "model/arch/config.h"
#include "model/arch/layer.h"
#include "model/arch/tensor_names.h"

namespace lfm2 {

class ConfigReader;
class GgufKeys;

struct ArchSpec {
  Architecture id;
  const char* name;        // in flags and RPCs
  const char* model_type;  // in config.json
  const char* hf_class;    // null: not in transformers
  const char* gguf;        // general.architecture in GGUF files; null: GGUF is not supported

  TensorNames tensors;
  Role mark;  // identifies a file without a config: a layer has a tensor of this role

  // The key of norm_eps in config.json, and the two words used in layer_types. Null words: every
  // layer has attention, and layer_types does not exist.
  const char* eps_key;
  const char* attends_word;
  const char* other_word;

  // Which flags apply to a new model (named in the comments), and the default values of a fresh
  // model.
  bool has_conv;           // conv_kernel
  bool has_ssm;            // ssm_state_size
  bool has_parallel;       // parallel_residual
  bool chooses_attention;  // attn_every
  int64_t attn_every;
  double rope_theta;
  bool qk_norm;

  // In a GGUF, RoPE rotates neighbouring rows of q and k as a pair; in this program, the two rows
  // of a pair are half a head apart.
  bool gguf_pairs_rows;

  // In a conversion from another architecture: the role of the source tensor for a tensor of this
  // role. Null: other architectures cannot be converted to this one.
  Role (*converted_from)(Role role);

  Layer (*layer)(const ModelConfig& config, int64_t index);
  // Reads config.json's keys into `config` and records all violations; `config.architecture` and
  // qk_norm are already set.
  void (*read)(ConfigReader& keys, ModelConfig& config);
  // Appends the keys that only some architectures have to config.json.
  void (*write)(const ModelConfig& config, Json& out);
  // Translates a GGUF's metadata to config.json's keys; null if `gguf` is null.
  absl::Status (*read_gguf)(GgufKeys& keys);
};

}  // namespace lfm2
