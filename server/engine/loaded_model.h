// A model in memory that can be served. Const after load, except the runner, which only the
// engine's thread uses. Ownership: shared; the last owner frees it, which may be a request.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/grammar/grammar_cache.h"
#include "server/engine/model_runner.h"
#include "server/store/model_store.h"

namespace lfm2 {

struct LoadedModel {
  std::string name;
  std::string version;
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<ModelRunner> runner;
  std::string dtype;     // of the weights: "float32", "bfloat16", "int8", "int4"
  std::string device;    // "cpu", "cuda:0"
  std::string isa;       // of our own kernels, as in isa.h, or "cuda"; empty: LibTorch's kernels
  std::string kv_dtype;  // of keys and values: "float32", "bfloat16"
  int64_t bytes = 0;     // of the weights
  // Grammars compiled for this vocabulary; filled on request.
  std::unique_ptr<GrammarCache> grammars = std::make_unique<GrammarCache>();

  // The tokens that end a generation, without duplicates, ascending.
  std::vector<int32_t> EndIds() const {
    std::set<int32_t> ids(config.eos_token_ids.begin(), config.eos_token_ids.end());
    if (config.eos_token_id.has_value()) ids.insert(*config.eos_token_id);
    if (tokenizer->eos().has_value()) ids.insert(*tokenizer->eos());
    return {ids.begin(), ids.end()};
  }
  // Longest prompt + generation; `fallback` if the config does not give a limit.
  int64_t ContextLength(int64_t fallback) const {
    return config.max_position_embeddings > 0 ? config.max_position_embeddings : fallback;
  }
};

// Reads a model's folder into memory. Made by model_loader.cc; tests use a fake.
using ModelLoader =
    std::function<absl::StatusOr<std::shared_ptr<LoadedModel>>(const ModelVersion& version)>;

}  // namespace lfm2
