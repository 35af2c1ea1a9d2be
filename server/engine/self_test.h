// One token of a model, to prove that it answers. Thread rule: the task is the engine's.
#pragma once

#include <functional>
#include <memory>

#include "server/engine/request.h"

namespace lfm2 {

// `ended` is called once, on the engine's thread, if the task is accepted: OK, why there was no
// token, or why the engine dropped it.
ModelTask SelfTest(std::shared_ptr<LoadedModel> model,
                   std::function<void(const absl::Status&)> ended);

}  // namespace lfm2
