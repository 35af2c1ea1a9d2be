// Access checks for methods that the gRPC library implements (reflection), where no handler of ours
// could check. An interceptor ends a forbidden call before its handler can answer. It does not
// touch our own methods and health. Thread rule: any thread.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "server/rpc/transport/service_core.h"

namespace lfm2 {

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> GuardForeignMethods(
    std::shared_ptr<ServiceCore> core);

}  // namespace lfm2
