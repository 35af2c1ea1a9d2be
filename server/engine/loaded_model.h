// A model that is in memory and can be served. Const after load, but for the runner, which the
// engine's thread alone uses. Ownership: shared; the last request that uses it frees it.
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
  std::string isa;       // of our own kernels, as in isa.h, or "cuda"; empty: LibTorch's
  std::string kv_dtype;  // of keys and values: "float32", "bfloat16"
  int64_t bytes = 0;     // of the weights
  // Of this vocabulary; filled as requests ask.
  std::unique_ptr<GrammarCache> grammars = std::make_unique<GrammarCache>();

  // The tokens that end a generation, each once, ascending.
  std::vector<int32_t> EndIds() const {
    std::set<int32_t> ids(config.eos_token_ids.begin(), config.eos_token_ids.end());
    if (config.eos_token_id.has_value()) ids.insert(*config.eos_token_id);
    if (tokenizer->eos().has_value()) ids.insert(*tokenizer->eos());
    return {ids.begin(), ids.end()};
  }
  // Longest prompt + generation; `fallback` where the config names none.
  int64_t ContextLength(int64_t fallback) const {
    return config.max_position_embeddings > 0 ? config.max_position_embeddings : fallback;
  }
};

// Reads a model's folder into memory. Made by model_loader.cc; a test gives a fake.
using ModelLoader =
    std::function<absl::StatusOr<std::shared_ptr<LoadedModel>>(const ModelVersion& version)>;

}  // namespace lfm2
