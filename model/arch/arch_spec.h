// What an architecture is: one such table for each, in a file of its own (lfm2.cc, hybrid.cc,
// llama.cc), and nothing about it anywhere else. Thread rule: const data and pure functions.
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
  const char* hf_class;    // null: transformers has none
  const char* gguf;        // general.architecture of a GGUF that is read; null: none is

  TensorNames tensors;
  Role mark;  // a file without a config that has such a tensor in a layer is of this architecture

  // config.json's key of norm_eps, and layer_types' two words; null: every layer attends, and there
  // is no such list.
  const char* eps_key;
  const char* attends_word;
  const char* other_word;

  // What a model can be made with: flags of these names, and what a fresh one has without them.
  bool has_conv;           // conv_kernel
  bool has_ssm;            // ssm_state_size
  bool has_parallel;       // parallel_residual
  bool chooses_attention;  // attn_every
  int64_t attn_every;
  double rope_theta;
  bool qk_norm;

  // In a GGUF, neighbouring rows of q and k are a pair that RoPE turns; ours are half a head apart.
  bool gguf_pairs_rows;

  // The other architecture's tensor that one of this role is made of in a conversion; null: models
  // of other architectures do not become one of this.
  Role (*converted_from)(Role role);

  Layer (*layer)(const ModelConfig& config, int64_t index);
  // config.json's keys to a config, all violations noted; `config.architecture` and qk_norm are
  // set.
  void (*read)(ConfigReader& keys, ModelConfig& config);
  // The keys that not every architecture has, appended to config.json.
  void (*write)(const ModelConfig& config, Json& out);
  // A GGUF's metadata to the keys of config.json; null where `gguf` is.
  absl::Status (*read_gguf)(GgufKeys& keys);
};

}  // namespace lfm2
