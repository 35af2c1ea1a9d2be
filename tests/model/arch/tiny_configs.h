// Small models of each architecture.
#pragma once

#include "model/arch/config.h"

namespace lfm2::testing {

inline ModelConfig TinyHybrid() {
  return ParseModelConfig(R"({"model_type": "lfm2_ssm_hybrid", "vocab_size": 61, "hidden_size": 16,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "intermediate_size": 24, "ssm_state_size": 4, "attn_every": 2, "parallel_residual": false,
      "tie_word_embeddings": true})")
      .value();
}

inline ModelConfig TinyLfm2() {
  return ParseModelConfig(R"({"model_type": "lfm2", "vocab_size": 61, "hidden_size": 16,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "intermediate_size": 24, "block_auto_adjust_ff_dim": false, "conv_L_cache": 3,
      "norm_eps": 1e-5, "layer_types": ["conv", "full_attention"], "tie_word_embeddings": true})")
      .value();
}

inline ModelConfig TinyLlama() {
  return ParseModelConfig(R"({"model_type": "llama", "vocab_size": 61, "hidden_size": 16,
      "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
      "intermediate_size": 24, "rms_norm_eps": 1e-5, "tie_word_embeddings": true})")
      .value();
}

}  // namespace lfm2::testing
