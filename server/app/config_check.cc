#include "server/app/config_check.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/errors.h"
#include "base/program_folder.h"
#include "base/status_macros.h"
#include "base/text_endpoint.h"
#include "model/cuda/driver.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {
namespace {

// Checks the form of the name only; the loader finds out whether the device exists.
absl::Status CheckDeviceName(const std::string& name) {
  constexpr char kCuda[] = "cuda:";
  constexpr size_t kPrefix = sizeof(kCuda) - 1;
  if (name == "auto" || name == "cpu" || name == "cuda") return absl::OkStatus();
  if (name.rfind(kCuda, 0) == 0 && name.size() > kPrefix &&
      std::all_of(name.begin() + kPrefix, name.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return absl::OkStatus();
  return Error(Reason::kConfigInvalid,
               "device is \"" + name + "\", must be auto, cpu, cuda or cuda:N",
               {{"key", "device"}, {"value", name}});
}

}  // namespace

RpcOptions RpcOptionsOf(const ServerConfig& config) {
  RpcOptions options;
  options.listen = config.listen;
  options.tls_cert_file = config.tls_cert;
  options.tls_key_file = config.tls_key;
  options.tls_client_ca_file = config.tls_client_ca;
  options.tokens_file = config.tokens;
  options.insecure_i_know = config.insecure_i_know;
  options.reflection = config.reflection;
  return options;
}

ModelLoaderOptions LoaderOptionsOf(const ServerConfig& config) {
  ModelLoaderOptions options;
  options.device = config.device;
  options.dtype = config.dtype;
  options.weights = config.weights;
  options.threads = static_cast<int>(config.threads);
  options.kv_bytes = config.kv_bytes;
  options.prefix_cache_bytes = config.prefix_cache_bytes;
  return options;
}

std::filesystem::path WorkerProgram(const ServerConfig& config) {
  if (!config.worker.empty()) return config.worker;
  return ProgramFolder() / "lfm2-worker";
}

absl::Status CheckWorkerProgram(const std::filesystem::path& program) {
  struct stat info {};
  std::string cause;
  if (stat(program.c_str(), &info) != 0) {
    cause = std::strerror(errno);
  } else if (!S_ISREG(info.st_mode)) {
    cause = "it is not a file";
  } else if (access(program.c_str(), X_OK) != 0) {
    cause = std::strerror(errno);
  } else {
    return absl::OkStatus();
  }
  return Error(Reason::kConfigInvalid,
               "worker \"" + program.string() + "\" cannot be run: " + cause,
               {{"key", "worker"}, {"value", program.string()}});
}

absl::Status CheckTrainDevice(const std::string& name) {
  LFM2_RETURN_IF_ERROR(CheckDeviceName(name));
  if (name == "auto" || name == "cpu" || NvidiaDriver() != nullptr) return absl::OkStatus();
  return Error(Reason::kDeviceUnavailable,
               "device \"" + name + "\": no NVIDIA driver, libcuda.so.1 was not found");
}

absl::Status CheckConfig(const ServerConfig& config) {
  LFM2_RETURN_IF_ERROR(RpcServer::Check(RpcOptionsOf(config)));
  if (!config.metrics_listen.empty()) {
    LFM2_RETURN_IF_ERROR(
        Annotate(TextEndpoint::CheckAddress(config.metrics_listen), "metrics_listen"));
  }
  LFM2_RETURN_IF_ERROR(CheckDeviceName(config.device));
  if (!config.worker.empty()) LFM2_RETURN_IF_ERROR(CheckWorkerProgram(config.worker));
  return absl::OkStatus();
}

}  // namespace lfm2
