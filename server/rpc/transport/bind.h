// Where the server listens, and whether that is safe. Thread rule: all functions are pure except
// ClaimSocketPath and WhyNotBound.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {

struct ListenAddress {
  std::string host;  // as written, brackets kept; empty for a Unix socket
  int port = 0;
  std::string unix_path;  // empty for TCP

  bool is_unix() const { return !unix_path.empty(); }
  // True for a literal 127.0.0.0/8, ::1, "localhost" and a Unix socket. Any other name counts as
  // reachable from other hosts, because name resolution can change.
  bool IsLocal() const;
  std::string WithPort(int actual_port) const;  // "127.0.0.1:7070", "unix:/run/lfm2d.sock"
};

// "host:port", "[v6]:port", "unix:PATH", "unix:///PATH". kInvalidArgument with the rule broken.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// kInsecureBind when other hosts could reach the address, TLS or tokens are missing, and
// `insecure_i_know` is off.
absl::Status CheckExposure(const ListenAddress& address, const RpcOptions& options);

// Frees the path for a bind by removing a socket on which no process listens. kWrongState when a
// process listens on it, kInvalidArgument when the path exists and is not a socket.
absl::Status ClaimSocketPath(const std::string& path);

// Finds out why the gRPC library, which reports no errno, could not bind an address, by binding it
// again. Never OK: kWrongState when another process uses the address, else kInvalidArgument.
absl::Status WhyNotBound(const ListenAddress& address);

}  // namespace lfm2
