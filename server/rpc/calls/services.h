// The three services. Methods are registered raw: they receive bytes, which RpcCall and
// request_parse turn into messages. Each method is named once here and once in the table of
// auth.cc; a test compares both with the descriptors.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>

#include "server/rpc/transport/service_core.h"

namespace lfm2 {

std::unique_ptr<grpc::Service> MakeGenerationService(std::shared_ptr<ServiceCore> core);
std::unique_ptr<grpc::Service> MakeTrainingService(std::shared_ptr<ServiceCore> core);
std::unique_ptr<grpc::Service> MakeModelsService(std::shared_ptr<ServiceCore> core);

}  // namespace lfm2
