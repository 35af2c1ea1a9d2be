#include "server/rpc/transport/bind.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

TEST(Bind, KnowsWhatIsLocal) {
  for (const char* address :
       {"127.0.0.1:1", "127.255.0.9:1", "[::1]:1", "localhost:1", "unix:/tmp/s", "unix:relative"}) {
    EXPECT_TRUE(ParseListenAddress(address)->IsLocal()) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "128.0.0.1:1", "localhost.example.org:1",
                              "127.0.0.1.example.org:1", "[::ffff:10.0.0.1]:1", "2130706433:1"}) {
    EXPECT_FALSE(ParseListenAddress(address)->IsLocal()) << address;
  }
}

TEST(Bind, RefusesWhatIsNoAddress) {
  for (const char* address : {"", "7070", "host", "host:", ":7070", "host:65536", "host:-1",
                              "host:7x", "::1:7070", "unix:", "http://host:80", "a b:1"}) {
    EXPECT_FALSE(ParseListenAddress(address).ok()) << address;
  }
  EXPECT_FALSE(ParseListenAddress("unix:" + std::string(200, 'p')).ok());
}

TEST(Bind, WritesAddressesAsAClientNamesThem) {
  EXPECT_EQ(ParseListenAddress("127.0.0.1:0")->WithPort(81), "127.0.0.1:81");
  EXPECT_EQ(ParseListenAddress("[::1]:0")->WithPort(81), "[::1]:81");
  EXPECT_EQ(ParseListenAddress("unix:///run/x")->WithPort(0), "unix:/run/x");
}

}  // namespace
}  // namespace lfm2
