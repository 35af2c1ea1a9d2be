#include "base/text_endpoint.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

Descriptor Connect(const std::string& address) {
  Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&peer), sizeof(peer)), 0);
  return fd;
}

std::string Ask(const std::string& address, const std::string& request) {
  const Descriptor fd = Connect(address);
  EXPECT_EQ(send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string reply;
  char bytes[4096];
  for (ssize_t n; (n = recv(fd.get(), bytes, sizeof(bytes), 0)) > 0;) {
    reply.append(bytes, static_cast<size_t>(n));
  }
  return reply;
}

std::unique_ptr<TextEndpoint> Start(TextEndpoint::Source source = [] { return "up 1\n"; }) {
  auto endpoint = TextEndpoint::Start("127.0.0.1:0", "/metrics", std::move(source));
  EXPECT_TRUE(endpoint.ok()) << endpoint.status();
  return *std::move(endpoint);
}

TEST(TextEndpoint, ServesTheTextAtItsPath) {
  const auto endpoint = Start();
  const std::string reply = Ask(endpoint->address(), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(reply.rfind("HTTP/1.1 200 OK\r\n", 0), 0U) << reply;
  EXPECT_NE(reply.find("Content-Length: 5\r\n"), std::string::npos);
  EXPECT_EQ(reply.substr(reply.size() - 9), "\r\n\r\nup 1\n");
}

TEST(TextEndpoint, SendsALongTextWhole) {
  const std::string text(3 << 20, 'x');
  const auto endpoint = Start([&] { return std::string(text); });
  const std::string reply = Ask(endpoint->address(), "GET /metrics HTTP/1.0\r\n\r\n");
  EXPECT_EQ(reply.substr(reply.find("\r\n\r\n") + 4), text);
}

TEST(TextEndpoint, RefusesOtherPathsMethodsAndNonsense) {
  const auto endpoint = Start();
  const auto status = [&](const std::string& request) {
    const std::string reply = Ask(endpoint->address(), request);
    return reply.size() > 12 ? reply.substr(9, 3) : reply;
  };
  EXPECT_EQ(status("GET / HTTP/1.1\r\n\r\n"), "404");
  EXPECT_EQ(status("GET /metrics/../x HTTP/1.1\r\n\r\n"), "404");
  EXPECT_EQ(status("POST /metrics HTTP/1.1\r\n\r\n"), "405");
  EXPECT_EQ(status("GET /metrics\r\n\r\n"), "405");
  EXPECT_EQ(status("\r\n\r\n"), "405");
  EXPECT_EQ(status(std::string(9 << 10, 'a') + "\r\n\r\n").size(), 0U);  // too long: no answer
}

TEST(TextEndpoint, IsNotHeldUpByAPeerThatSaysNothing) {
  const auto endpoint = Start();
  const Descriptor silent = Connect(endpoint->address());
  EXPECT_NE(Ask(endpoint->address(), "GET /metrics HTTP/1.1\r\n\r\n").find("up 1"),
            std::string::npos);
}

TEST(TextEndpoint, StopsWhileAPeerIsConnected) {
  auto endpoint = Start();
  const Descriptor silent = Connect(endpoint->address());
  endpoint.reset();
}

TEST(TextEndpoint, ListensOnLoopbackOnly) {
  for (const char* listen : {"0.0.0.0:0", "[::]:0", "10.1.2.3:0", "example.org:80", ":0"}) {
    const auto endpoint = TextEndpoint::Start(listen, "/metrics", [] { return ""; });
    EXPECT_EQ(DetailsOf(endpoint.status()).reason, Reason::kInsecureBind) << listen;
  }
  for (const char* listen : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"}) {
    const auto endpoint = TextEndpoint::Start(listen, "/metrics", [] { return ""; });
    EXPECT_EQ(DetailsOf(endpoint.status()).reason, Reason::kConfigInvalid) << listen;
  }
  EXPECT_TRUE(TextEndpoint::Start("localhost:0", "/metrics", [] { return ""; }).ok());
}

TEST(TextEndpoint, SaysThatAPortIsTaken) {
  const auto first = Start();
  const auto second = TextEndpoint::Start(first->address(), "/metrics", [] { return ""; });
  EXPECT_EQ(DetailsOf(second.status()).reason, Reason::kWrongState);
}

}  // namespace
}  // namespace lfm2
