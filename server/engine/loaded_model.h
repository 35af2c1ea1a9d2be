// A model that is in memory and can be served. Const after load, but for the runner, which the
// engine's thread alone uses. Ownership: shared; the last request that uses it frees it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/formats/config.h"
#include "model/tokenizer/tokenizer.h"
#include "server/engine/model_runner.h"
#include "server/store/model_store.h"

namespace lfm2 {

struct LoadedModel {
  std::string name;
  std::string version;
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<ModelRunner> runner;
  std::string dtype;   // "float32", "bfloat16"
  std::string device;  // "cpu", "cuda:0"
  int64_t bytes = 0;   // of the weights

  // Longest prompt + generation; `fallback` where the config names none.
  int64_t ContextLength(int64_t fallback) const {
    return config.max_position_embeddings > 0 ? config.max_position_embeddings : fallback;
  }
};

// Reads a model's folder into memory. Made by torch_runner.cc; a test gives a fake.
using ModelLoader =
    std::function<absl::StatusOr<std::shared_ptr<LoadedModel>>(const ModelVersion& version)>;

}  // namespace lfm2
