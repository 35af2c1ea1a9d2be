// Requests to generate, as the engine's tests make them.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "server/engine/request.h"
#include "tests/server/fakes/fake_model_runner.h"

namespace lfm2 {

// One token a byte of the prompt.
inline GenerateRequest Request(std::shared_ptr<LoadedModel> model, std::string_view prompt,
                               int64_t max_new_tokens) {
  GenerateRequest request;
  request.model = std::move(model);
  request.prompt = BytesAsTokens(prompt);
  request.max_new_tokens = max_new_tokens;
  return request;
}

}  // namespace lfm2
