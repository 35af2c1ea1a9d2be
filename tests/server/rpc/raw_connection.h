// A TCP connection that a test can cut or leave silent, under a gRPC channel or bare.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "base/descriptor.h"

namespace lfm2 {

class RawConnection {
 public:
  explicit RawConnection(const std::string& address)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in peer{};
    peer.sin_family = AF_INET;
    peer.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  }

  // A channel over this connection and no other; this object can still cut it.
  std::shared_ptr<grpc::Channel> Channel() {
    const int copy = fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0);
    fcntl(copy, F_SETFL, O_NONBLOCK);
    return grpc::CreateInsecureChannelFromFd("raw", copy);
  }
  void Cut() { shutdown(fd_.get(), SHUT_RDWR); }

  // Speaks enough HTTP/2 to be taken for a client, then never again.
  void SayHello() {
    const std::string hello = std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") +
                              std::string("\0\0\0\4\0\0\0\0\0", 9);  // empty SETTINGS
    EXPECT_EQ(send(fd_.get(), hello.data(), hello.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(hello.size()));
  }
  // Whether the peer closes within the time; what it sends is thrown away.
  bool IsClosedWithin(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (true) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      pollfd wait{fd_.get(), POLLIN, 0};
      if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) <= 0) return false;
      char bytes[1024];
      if (recv(fd_.get(), bytes, sizeof(bytes), 0) <= 0) return true;
    }
  }

 private:
  Descriptor fd_;
};

}  // namespace lfm2
