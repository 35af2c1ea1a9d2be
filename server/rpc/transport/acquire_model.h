// Gets a loaded model for a call that runs on the executor, without blocking a thread while the
// model is being loaded. Thread rule: as the call's OnWorker.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/rpc/transport/rpc_call.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

// Calls `then` with the model or an error: at once when the answer is known, else on the executor
// after the load. Keeps the call alive until then.
template <typename Call>
void AcquireModel(std::shared_ptr<Call> call, const std::string& reference,
                  const std::function<void(const ModelPool::Acquired&)>& then) {
  const ServiceContext& services = call->call().services();
  const std::optional<ModelPool::Acquired> known = services.models.Acquire(
      reference, services.loads, [call, then](const ModelPool::Acquired& loaded) {
        call->OnWorker([then, loaded] { then(loaded); });
      });
  if (known) then(*known);
}

}  // namespace lfm2
