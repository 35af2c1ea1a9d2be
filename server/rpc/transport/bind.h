// Where the server listens, and whether that is safe. Thread rule: pure functions but for
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
  // Literal 127.0.0.0/8, ::1, "localhost" or a Unix socket. Any other name counts as reachable by
  // others: what a resolver says today proves nothing.
  bool IsLocal() const;
  std::string WithPort(int actual_port) const;  // "127.0.0.1:7070", "unix:/run/lfm2d.sock"
};

// "host:port", "[v6]:port", "unix:PATH", "unix:///PATH". kInvalidArgument with the rule broken.
absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text);

// kInsecureBind when others could reach the address without TLS and tokens and `insecure_i_know` is
// off.
absl::Status CheckExposure(const ListenAddress& address, const RpcOptions& options);

// Makes the path free to bind: removes a socket that nobody listens at. kWrongState when somebody
// does, kInvalidArgument when the path is something else than a socket.
absl::Status ClaimSocketPath(const std::string& path);

// Never OK. What the system says to an address that the gRPC library could not bind, of which it
// keeps no errno: kWrongState when another process has it, else kInvalidArgument.
absl::Status WhyNotBound(const ListenAddress& address);

}  // namespace lfm2
