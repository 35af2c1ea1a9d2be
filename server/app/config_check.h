// Checks of a configuration beyond the type and range of each key, and the options that the parts
// of the daemon get from it.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "server/app/config.h"
#include "server/app/model_loader.h"
#include "server/rpc/rpc_server.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {

// Reads the files that the configuration names; changes nothing. Thread rule: any thread.
// kInvalidArgument, kInsecureBind, kConfigInvalid.
absl::Status CheckConfig(const ServerConfig& config);

RpcOptions RpcOptionsOf(const ServerConfig& config);
ModelLoaderOptions LoaderOptionsOf(const ServerConfig& config);
std::filesystem::path WorkerProgram(const ServerConfig& config);
// Checks a training job's device before the job is stored: kConfigInvalid when it is not a device
// name, kDeviceUnavailable for CUDA without an NVIDIA driver. The worker finds out whether that
// device exists.
absl::Status CheckTrainDevice(const std::string& name);
// kConfigInvalid when it is not a file that this user may execute.
absl::Status CheckWorkerProgram(const std::filesystem::path& program);

}  // namespace lfm2
