// What a configuration must be beyond its keys' own types and ranges, and what the parts of the
// daemon are given of it.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "server/app/config.h"
#include "server/app/model_loader.h"
#include "server/rpc/rpc_server.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {

// Reads the files that the configuration names, changes nothing. Thread rule: any thread.
// kInvalidArgument, kInsecureBind, kConfigInvalid.
absl::Status CheckConfig(const ServerConfig& config);

RpcOptions RpcOptionsOf(const ServerConfig& config);
ModelLoaderOptions LoaderOptionsOf(const ServerConfig& config);
std::filesystem::path WorkerProgram(const ServerConfig& config);
// Of a training job, before it is stored: kConfigInvalid for no device's name, kDeviceUnavailable
// for CUDA without an NVIDIA driver. Which devices there are is the worker's to find.
absl::Status CheckTrainDevice(const std::string& name);
// kConfigInvalid where it is no file that this user may execute.
absl::Status CheckWorkerProgram(const std::filesystem::path& program);

}  // namespace lfm2
