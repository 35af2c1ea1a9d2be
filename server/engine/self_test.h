// Generates one token with a model, to check that it works. Thread rule: the task runs on the
// engine's thread.
#pragma once

#include <functional>
#include <memory>

#include "server/engine/request.h"

namespace lfm2 {

// If the task is accepted, `ended` is called once, on the engine's thread, with OK, the reason why
// there was no token, or the reason why the engine dropped the task.
ModelTask SelfTest(std::shared_ptr<LoadedModel> model,
                   std::function<void(const absl::Status&)> ended);

}  // namespace lfm2
