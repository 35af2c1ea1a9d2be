#include "server/rpc/transport/tls.h"

#include <gtest/gtest.h>

#include "server/rpc/transport/rpc_options.h"
#include "tests/server/rpc/server_fixture.h"

namespace lfm2 {
namespace {

using TlsTest = ServerTest;

TEST_F(TlsTest, SpeaksTlsAndRefusesPlaintextOnItsPort) {
  MakeCertificates();
  Start();
  EXPECT_EQ(Health(""), -1);  // plaintext
  Connect(TlsClient());
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Generate(Ask("x", 3)).tokens, 3);
  grpc::SslCredentialsOptions stranger;
  stranger.pem_root_certs = ReadText(Path("other.pem"));
  Connect(grpc::SslCredentials(stranger));
  EXPECT_EQ(Health(""), -1);
  const std::string port = server_->address().substr(server_->address().rfind(':') + 1);
  const auto handshake = [&](const std::string& version) {
    return std::system(("openssl s_client -connect 127.0.0.1:" + port + " " + version +
                        " </dev/null 2>/dev/null | grep -q 'BEGIN CERTIFICATE'")
                           .c_str());
  };
  EXPECT_NE(handshake("-tls1_1 -cipher ALL:@SECLEVEL=0"), 0);
  EXPECT_EQ(handshake("-tls1_2 -alpn h2"), 0);
  EXPECT_EQ(handshake("-tls1_3 -alpn h2"), 0);
}

TEST_F(TlsTest, WantsAClientCertificateOfItsAuthorityForMutualTls) {
  MakeCertificates();
  options_.tls_client_ca_file = Path("ca.pem");
  Start();
  Connect(TlsClient());
  EXPECT_EQ(Health(""), -1);
  ASSERT_EQ(
      std::system(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
                   " -subj /CN=forged -keyout " +
                   Path("forged.key") + " -out " + Path("forged.pem") + " 2>/dev/null")
                      .c_str()),
      0);
  Connect(TlsClient("forged"));
  EXPECT_EQ(Health(""), -1);
  Connect(TlsClient("client"));
  EXPECT_EQ(Health(""), 1);
}

TEST_F(TlsTest, ChecksItsTlsFilesBeforeItListens) {
  MakeCertificates();
  const RpcOptions good = options_;
  options_.tls_key_file = Path("client.key");
  ExpectRefused("CONFIG_INVALID");  // another certificate's key
  options_ = good;
  chmod(options_.tls_key_file.c_str(), 0644);
  ExpectRefused("CONFIG_INVALID");
  chmod(options_.tls_key_file.c_str(), 0600);
  options_.tls_key_file.clear();
  ExpectRefused("CONFIG_INVALID");
  options_ = good;
  options_.tls_cert_file = options_.tls_key_file;
  ExpectRefused("CONFIG_INVALID");
  options_ = good;
  options_.tls_client_ca_file = Path("absent.pem");
  ExpectRefused("CONFIG_INVALID");
  options_ = good;
  ASSERT_EQ(std::system(("openssl x509 -req -days -1 -in " + Path("server.csr") + " -CA " +
                         Path("ca.pem") + " -CAkey " + Path("ca.key") + " -out " +
                         Path("expired.pem") + " 2>/dev/null")
                            .c_str()),
            0);
  options_.tls_cert_file = Path("expired.pem");
  ExpectRefused("CONFIG_INVALID");
}

}  // namespace
}  // namespace lfm2
