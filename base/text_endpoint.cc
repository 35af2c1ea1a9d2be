#include "base/text_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>

#include "base/descriptor.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr size_t kMostRequestBytes = 8 << 10;
constexpr std::chrono::milliseconds kConnectionTime{2'000};
constexpr int kBacklog = 16;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  std::string host;
};

absl::StatusOr<Address> ParseLoopback(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  uint16_t port = 0;
  const char* end = listen.data() + listen.size();
  const auto [rest, error] = std::from_chars(
      listen.data() + (colon == std::string::npos ? listen.size() : colon + 1), end, port);
  if (colon == std::string::npos || error != std::errc() || rest != end) {
    return Error(Reason::kConfigInvalid, "\"" + listen + "\" is not HOST:PORT");
  }
  Address address;
  address.host = listen.substr(0, colon);
  const std::string literal = address.host == "localhost" ? "127.0.0.1" : address.host;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (literal == "[::1]") {
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
    v6->sin6_port = htons(port);
    address.size = sizeof(sockaddr_in6);
  } else if (inet_pton(AF_INET, literal.c_str(), &v4->sin_addr) == 1 &&
             ntohl(v4->sin_addr.s_addr) >> 24 == 127) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.size = sizeof(sockaddr_in);
  } else {
    return Error(
        Reason::kInsecureBind,
        "\"" + address.host + "\" is not this host's loopback: this page has no access control");
  }
  return address;
}

std::string Reply(std::string_view status, std::string_view type, std::string_view body) {
  std::string out = "HTTP/1.1 ";
  out += status;
  out += "\r\nContent-Type: ";
  out += type;
  out += "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n";
  out += body;
  return out;
}

}  // namespace

class TextEndpoint::Impl {
 public:
  Impl(std::string path, Source source) : path_(std::move(path)), source_(std::move(source)) {}
  ~Impl() {
    const uint64_t one = 1;
    if (thread_.joinable()) {
      (void)!write(wake_.get(), &one, sizeof(one));
      thread_.join();
    }
  }

  absl::Status Bind(const std::string& listen) {
    LFM2_ASSIGN_OR_RETURN(Address address, ParseLoopback(listen));
    auto* raw = reinterpret_cast<sockaddr*>(&address.storage);
    const int reuse = 1;
    socket_ = Descriptor(
        socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    wake_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (socket_.get() < 0 || wake_.get() < 0 ||
        setsockopt(socket_.get(), SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)) != 0 ||
        bind(socket_.get(), raw, address.size) != 0 || ::listen(socket_.get(), kBacklog) != 0 ||
        getsockname(socket_.get(), raw, &address.size) != 0) {
      return Error(errno == EADDRINUSE ? Reason::kWrongState : Reason::kConfigInvalid,
                   "cannot listen on " + listen + ": " + strerror(errno));
    }
    const uint16_t port = ntohs(reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port);
    address_ = address.host + ":" + std::to_string(port);
    thread_ = std::thread([this] { Serve(); });
    return absl::OkStatus();
  }

  std::string address() const { return address_; }

 private:
  using Time = std::chrono::steady_clock::time_point;

  // False after the timeout or when the endpoint stops.
  bool WaitFor(int fd, short events, Time until) const {
    while (true) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      if (left.count() <= 0) return false;
      std::array<pollfd, 2> fds = {{{fd, events, 0}, {wake_.get(), POLLIN, 0}}};
      const int ready = poll(fds.data(), fds.size(), static_cast<int>(left.count()));
      if (ready < 0 && errno != EINTR) return false;
      if (ready > 0) return fds[1].revents == 0;
    }
  }

  void Serve() {
    while (true) {
      std::array<pollfd, 2> fds = {{{socket_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}}};
      if (poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
      if (fds[1].revents != 0) return;
      const Descriptor peer(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (peer.get() >= 0) {
        Answer(peer.get());
      } else if (errno == EMFILE || errno == ENFILE) {
        WaitFor(wake_.get(), POLLIN, std::chrono::steady_clock::now() + kConnectionTime);
      }
    }
  }

  void Answer(int peer) const {
    const Time until = std::chrono::steady_clock::now() + kConnectionTime;
    std::string request;
    while (request.find("\r\n\r\n") == std::string::npos) {
      std::array<char, 1024> bytes;
      if (request.size() > kMostRequestBytes || !WaitFor(peer, POLLIN, until)) return;
      const ssize_t size = recv(peer, bytes.data(), bytes.size(), 0);
      if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR)) return;
      if (size > 0) request.append(bytes.data(), static_cast<size_t>(size));
    }
    Send(peer, ReplyTo(std::string_view(request).substr(0, request.find("\r\n"))), until);
  }

  std::string ReplyTo(std::string_view line) const {
    const bool get = line.substr(0, 4) == "GET ";
    const std::string_view rest = get ? line.substr(4) : std::string_view();
    const size_t space = rest.find(' ');
    if (!get || space == std::string_view::npos || rest.substr(space + 1, 7) != "HTTP/1.") {
      return Reply("405 Method Not Allowed", "text/plain", "only GET\n");
    }
    if (rest.substr(0, space) != path_) return Reply("404 Not Found", "text/plain", path_ + "\n");
    try {
      return Reply("200 OK", "text/plain; version=0.0.4; charset=utf-8", source_());
    } catch (const std::exception& error) {
      Log(LogLevel::kError, "metrics cannot be made", {{"detail", error.what()}});
      return Reply("500 Internal Server Error", "text/plain", "");
    }
  }

  void Send(int peer, std::string_view bytes, Time until) const {
    while (!bytes.empty() && WaitFor(peer, POLLOUT, until)) {
      const ssize_t sent = send(peer, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return;
      if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    }
    shutdown(peer, SHUT_WR);
  }

  const std::string path_;
  const Source source_;
  std::string address_;
  Descriptor socket_, wake_;
  std::thread thread_;
};

absl::Status TextEndpoint::CheckAddress(const std::string& listen) {
  return ParseLoopback(listen).status();
}

absl::StatusOr<std::unique_ptr<TextEndpoint>> TextEndpoint::Start(const std::string& listen,
                                                                  const std::string& path,
                                                                  Source source) {
  auto impl = std::make_unique<Impl>(path, std::move(source));
  LFM2_RETURN_IF_ERROR(impl->Bind(listen));
  return std::unique_ptr<TextEndpoint>(new TextEndpoint(std::move(impl)));
}

TextEndpoint::TextEndpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TextEndpoint::~TextEndpoint() = default;

std::string TextEndpoint::address() const { return impl_->address(); }

}  // namespace lfm2
