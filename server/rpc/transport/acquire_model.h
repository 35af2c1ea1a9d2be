// A loaded model for a call that runs on the executor, without a thread that waits while the model
// is being loaded. Thread rule: as the call's OnWorker.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/rpc/transport/rpc_call.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

// `then(model or why not)` runs now when that is known, else on the executor after the load, with
// the call kept alive.
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
