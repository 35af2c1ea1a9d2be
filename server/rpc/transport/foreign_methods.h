// Admission for the methods that the library itself serves (reflection): they have no handler of
// ours to check in. An interceptor ends a call that may not be made before its handler can answer.
// Our own methods and health are left alone. Thread rule: any thread.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "server/rpc/transport/service_core.h"

namespace lfm2 {

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> GuardForeignMethods(
    std::shared_ptr<ServiceCore> core);

}  // namespace lfm2
