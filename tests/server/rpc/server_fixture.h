// What the tests of the server itself share: tokens, certificates, health, calls by name.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "server/rpc/transport/auth.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {

inline constexpr char kHealth[] = "/grpc.health.v1.Health/Check";
inline constexpr char kReflection[] =
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

inline std::vector<std::string> OwnMethods() {
  std::vector<std::string> methods;
  for (const char* file :
       {"lfm2/v1/generation.proto", "lfm2/v1/training.proto", "lfm2/v1/models.proto"}) {
    const auto* descriptor =
        google::protobuf::DescriptorPool::generated_pool()->FindFileByName(file);
    for (int s = 0; descriptor != nullptr && s < descriptor->service_count(); ++s) {
      const auto* service = descriptor->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        methods.push_back("/" + service->full_name() + "/" + service->method(m)->name());
      }
    }
  }
  return methods;
}

class ServerTest : public RpcTest {
 protected:
  void WriteTokens(const std::string& lines, int mode = 0600) {
    options_.tokens_file = (directory_.path() / "tokens").string();
    WriteText(options_.tokens_file, lines);
    chmod(options_.tokens_file.c_str(), static_cast<mode_t>(mode));
  }
  static std::string Line(const std::string& token, const std::string& name,
                          const std::string& scopes) {
    return Sha256Hex(token) + " " + name + " " + scopes + "\n";
  }
  grpc::Status Call(const std::string& method, const std::string& token,
                    const std::string& bytes = "", std::string* reply = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    return CallRaw(channel_, method, bytes, context, reply);
  }
  // SERVING 1, NOT_SERVING 2, as in grpc.health.v1; -1 on an error.
  int Health(const std::string& service) {
    const std::string request =
        service.empty() ? "" : "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
    std::string reply;
    const grpc::Status status = Call(kHealth, "", request, &reply);
    return status.ok() && reply.size() == 2 ? reply[1] : -1;
  }
  std::string Path(const char* name) const { return (directory_.path() / name).string(); }
  // A certificate authority, a server's and a client's certificate.
  void MakeCertificates() {
    const std::string d = directory_.path().string();
    const auto run = [](const std::string& command) {
      ASSERT_EQ(std::system((command + " >/dev/null 2>&1").c_str()), 0) << command;
    };
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca"
        " -keyout " +
        d + "/ca.key -out " + d + "/ca.pem");
    for (const char* name : {"server", "client", "other"}) {
      const std::string stem = d + "/" + name;
      run(absl::StrCat("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=",
                       name, " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout ", stem,
                       ".key -out ", stem, ".csr"));
      run(absl::StrCat("openssl x509 -req -days 2 -copy_extensions copy -in ", stem, ".csr -CA ", d,
                       "/ca.pem -CAkey ", d, "/ca.key -CAcreateserial -out ", stem, ".pem"));
      chmod((stem + ".key").c_str(), 0600);
    }
    options_.tls_cert_file = d + "/server.pem";
    options_.tls_key_file = d + "/server.key";
  }
  std::shared_ptr<grpc::ChannelCredentials> TlsClient(const char* client = nullptr) const {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = ReadText(Path("ca.pem"));
    if (client != nullptr) {
      ssl.pem_private_key = ReadText(Path(client) + ".key");
      ssl.pem_cert_chain = ReadText(Path(client) + ".pem");
    }
    return grpc::SslCredentials(ssl);
  }
  void ExpectRefused(const char* reason) {
    const absl::Status status = TryStart();
    ASSERT_FALSE(status.ok());
    EXPECT_STREQ(SpecOf(DetailsOf(status).reason).name, reason) << status;
  }
};

}  // namespace lfm2
