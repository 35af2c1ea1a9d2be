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
  bool serving = false;  // what health says of Generation
};

class RpcServer {
 public:
  // What Start would say of the options, without binding.
  static absl::Status Check(const RpcOptions& options);
  // kInsecureBind; kConfigInvalid for unreadable or mismatched TLS files and token files (a key or
  // token file that others may read is refused); kInvalidArgument for an address that cannot be
  // bound, kWrongState where another process has it.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Start(const RpcOptions& options,
                                                          const ServiceContext& context);
  virtual ~RpcServer() = default;
  virtual std::string address() const = 0;  // as a client would name it
  virtual RpcStats stats() const = 0;       // any thread
  // Health of Generation and Training to NOT_SERVING at once, new calls are refused with kDraining;
  // open ones go on.
  virtual void BeginDrain() = 0;
  // Waits for open calls up to the time, then ends them.
  virtual void Shutdown(std::chrono::milliseconds timeout) = 0;
};

}  // namespace lfm2
