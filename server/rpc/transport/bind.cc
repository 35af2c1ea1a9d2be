#include "server/rpc/transport/bind.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/descriptor.h"
#include "base/errors.h"
#include "server/rpc/transport/rpc_options.h"

namespace lfm2 {
namespace {

absl::Status BadAddress(std::string_view text, std::string_view rule) {
  return Error(Reason::kInvalidArgument,
               "listen address \"" + std::string(text) + "\" " + std::string(rule));
}

absl::StatusOr<ListenAddress> ParseUnix(std::string_view text, std::string_view path) {
  if (path.substr(0, 2) == "//") path.remove_prefix(2);
  if (path.empty()) return BadAddress(text, "has no path after \"unix:\"");
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return BadAddress(text, absl::StrCat("has a path of ", path.size(), " bytes, limit ",
                                         sizeof(sockaddr_un::sun_path) - 1));
  }
  if (path.find('\0') != std::string_view::npos) return BadAddress(text, "has a NUL byte");
  ListenAddress address;
  address.unix_path = std::string(path);
  return address;
}

bool IsLoopbackHost(std::string host) {
  if (host == "localhost") return true;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  return std::memcmp(&v6, &in6addr_loopback, sizeof v6) == 0;
}

}  // namespace

bool ListenAddress::IsLocal() const { return is_unix() || IsLoopbackHost(host); }

std::string ListenAddress::WithPort(int actual_port) const {
  if (is_unix()) return "unix:" + unix_path;
  return absl::StrCat(host, ":", actual_port);
}

absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  if (text.substr(0, kUnix.size()) == kUnix) return ParseUnix(text, text.substr(kUnix.size()));
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return BadAddress(text, "has no port: use host:port");
  ListenAddress address;
  address.host = std::string(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  if (!absl::SimpleAtoi(port, &address.port) || address.port < 0 || address.port > 65'535) {
    return BadAddress(text, "has port \"" + port + "\", must be 0 to 65535");
  }
  if (address.host.empty()) return BadAddress(text, "has no host: use 127.0.0.1 or 0.0.0.0");
  const bool bracketed = address.host.front() == '[' && address.host.back() == ']';
  if (!bracketed && address.host.find(':') != std::string::npos) {
    return BadAddress(text, "is not host:port; an IPv6 address goes in brackets");
  }
  if (address.host.find_first_of("/@%, ") != std::string::npos) {
    return BadAddress(text, "has a host that is neither a name nor an address");
  }
  return address;
}

absl::Status CheckExposure(const ListenAddress& address, const RpcOptions& options) {
  if (address.IsLocal() || options.insecure_i_know) return absl::OkStatus();
  const bool tls = !options.tls_cert_file.empty();
  const bool tokens = !options.tokens_file.empty();
  if (tls && tokens) return absl::OkStatus();
  const char* missing = tls ? "a tokens file" : tokens ? "TLS" : "TLS and a tokens file";
  return Error(Reason::kInsecureBind,
               absl::StrCat("listening on ", address.WithPort(address.port), " needs ", missing,
                            ": it is neither loopback nor a Unix socket"),
               {{"address", address.WithPort(address.port)}});
}

absl::Status ClaimSocketPath(const std::string& path) {
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISSOCK(info.st_mode)) return BadAddress("unix:" + path, "exists and is not a socket");
  const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return BadAddress("unix:" + path, std::strerror(errno));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int result = connect(probe, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int error = errno;
  close(probe);
  if (result == 0) {
    return Error(Reason::kWrongState,
                 "listen address \"unix:" + path + "\" is in use by another process");
  }
  if (error != ECONNREFUSED) return BadAddress("unix:" + path, std::strerror(error));
  if (unlink(path.c_str()) != 0) return BadAddress("unix:" + path, std::strerror(errno));
  return absl::OkStatus();
}

absl::Status WhyNotBound(const ListenAddress& address) {
  const std::string what = "cannot listen on " + address.WithPort(address.port) + ": ";
  if (address.is_unix()) {
    return Error(Reason::kInvalidArgument, what + "the socket cannot be created in its folder");
  }
  std::string host = address.host;
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  if (const int code = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); code != 0) {
    return Error(Reason::kInvalidArgument, what + gai_strerror(code));
  }
  int error = 0;
  for (const addrinfo* at = found; at != nullptr && error == 0; at = at->ai_next) {
    const Descriptor probe(socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(probe.get(), at->ai_addr, at->ai_addrlen) != 0 || listen(probe.get(), 1) != 0)
      error = errno;
  }
  freeaddrinfo(found);
  if (error == EADDRINUSE) {
    return Error(Reason::kWrongState, what + "another process has this port");
  }
  return Error(Reason::kInvalidArgument,
               what + (error != 0 ? std::strerror(error) : "the gRPC library gives no reason"));
}

}  // namespace lfm2
