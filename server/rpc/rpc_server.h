// The gRPC server: binds, authenticates, translates. Everything behind it is plain C++.
// Ownership: borrows everything in ServiceContext, which must outlive it. Thread rule: Start and
// Shutdown from one thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/rpc/transport/rpc_options.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

struct RpcStats {
  int64_t open_calls = 0;
  int64_t open_streams = 0;
  bool serving = false;  // health of Generation
};

class RpcServer {
 public:
  // The error that Start would return for these options, without binding.
  static absl::Status Check(const RpcOptions& options);
  // kInsecureBind; kConfigInvalid for TLS or token files that are unreadable or do not match, or
  // that others may read; kInvalidArgument for an address that cannot be bound, kWrongState when
  // another process uses it.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const RpcOptions& options,
                                                          const ServiceContext& context);
  ~RpcServer();
  std::string address() const;  // in the form that a client uses
  RpcStats stats() const;       // any thread
  // Sets the health of Generation and Training to NOT_SERVING at once and refuses new calls with
  // kDraining; open calls continue.
  void BeginDrain();
  // Waits for open calls until the timeout, then ends them.
  void Shutdown(std::chrono::milliseconds timeout);

 private:
  class Impl;
  explicit RpcServer(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace lfm2
