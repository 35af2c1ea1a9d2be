#include <google/protobuf/descriptor.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "model/formats/file.h"
#include "server/rpc/auth.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

constexpr char kHealth[] = "/grpc.health.v1.Health/Check";
constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

std::vector<std::string> OwnMethods() {
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
    for (const std::string name : {"server", "client", "other"}) {
      run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name +
          " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " + d + "/" + name +
          ".key -out " + d + "/" + name + ".csr");
      run("openssl x509 -req -days 2 -copy_extensions copy -in " + d + "/" + name + ".csr -CA " +
          d + "/ca.pem -CAkey " + d + "/ca.key -CAcreateserial -out " + d + "/" + name + ".pem");
      chmod((d + "/" + name + ".key").c_str(), 0600);
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

TEST_F(ServerTest, HasAnAccessRuleForEveryMethodOfTheProtocol) {
  const std::vector<std::string> methods = OwnMethods();
  EXPECT_EQ(methods.size(), 16U);
  for (const std::string& method : methods) {
    const MethodAccess* access = AccessOf(method);
    ASSERT_NE(access, nullptr) << method;
    EXPECT_NE(access->rule, MethodAccess::Rule::kOpen) << method;
  }
  EXPECT_EQ(AccessOf("/lfm2.v1.Generation/Unheard"), nullptr);
}

TEST_F(ServerTest, GivesEachMethodToItsScopeOnly) {
  WriteTokens(Line("g", "gina", "generate") + Line("t", "tom", "train") +
              Line("e", "eve", "export") + Line("a", "ann", "admin"));
  Start();
  const std::vector<std::pair<std::string, unsigned>> tokens = {
      {"g", kGenerateScope}, {"t", kTrainScope}, {"e", kExportScope}, {"a", kAdminScope}};
  for (const std::string& method : OwnMethods()) {
    EXPECT_EQ(ReasonOf(Call(method, "")), "CREDENTIAL_MISSING") << method;
    EXPECT_EQ(ReasonOf(Call(method, "wrong")), "CREDENTIAL_INVALID") << method;
    const MethodAccess& access = *AccessOf(method);
    for (const auto& [token, scope] : tokens) {
      const bool allowed =
          access.rule == MethodAccess::Rule::kAnyToken || (access.scope & scope) != 0;
      const grpc::Status status = Call(method, token);
      EXPECT_EQ(status.error_code() == grpc::StatusCode::PERMISSION_DENIED, !allowed)
          << method << " " << token << ": " << status.error_message();
      EXPECT_EQ(ReasonOf(status) == "SCOPE_REQUIRED", !allowed) << method;
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNAUTHENTICATED) << method;
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << method;
      EXPECT_NE(status.error_code(), grpc::StatusCode::UNKNOWN) << method;
    }
  }
}

TEST_F(ServerTest, LeavesHealthOpenAndGuardsReflection) {
  WriteTokens(Line("g", "gina", "generate"));
  Start();
  EXPECT_EQ(Health(""), 1);
  // ServerReflectionRequest { list_services: "" }
  const std::string list("\x3a\x00", 2);
  std::string reply;
  const grpc::Status refused = Call(kReflection, "", list, &reply);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAUTHENTICATED) << refused.error_message();
  EXPECT_EQ(reply, "");
  EXPECT_EQ(Call(kReflection, "wrong", list, &reply).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(reply, "");
  const grpc::Status served = Call(kReflection, "g", list, &reply);
  EXPECT_TRUE(served.ok()) << served.error_message();
  EXPECT_NE(reply.find("lfm2.v1.Generation"), std::string::npos);
}

TEST_F(ServerTest, TakesTheBearerSchemeInAnyCaseButNoOther) {
  WriteTokens(Line("t", "tom", "train"));
  Start();
  const auto with = [&](const std::string& value) {
    grpc::ClientContext context;
    context.AddMetadata("authorization", value);
    return ReasonOf(CallRaw(channel_, "/lfm2.v1.Training/ListJobs", "", context));
  };
  EXPECT_EQ(with("bearer t"), "OK");
  EXPECT_EQ(with("BEARER  t"), "OK");
  EXPECT_EQ(with("Basic t"), "CREDENTIAL_INVALID");
  EXPECT_EQ(with("t"), "CREDENTIAL_INVALID");
  EXPECT_EQ(with("Bearer "), "CREDENTIAL_INVALID");
}

TEST_F(ServerTest, RefusesATokensFileThatOthersMayReadOrThatIsWrong) {
  WriteTokens(Line("g", "gina", "generate"), 0640);
  ExpectRefused("CONFIG_INVALID");
  WriteTokens("short gina generate\n");
  ExpectRefused("CONFIG_INVALID");
  WriteTokens(Line("g", "gina", "everything"));
  ExpectRefused("CONFIG_INVALID");
  WriteTokens("# nobody\n");
  ExpectRefused("CONFIG_INVALID");
  options_.tokens_file = Path("absent");
  ExpectRefused("CONFIG_INVALID");
}

TEST_F(ServerTest, RefusesToListenBeyondLoopbackWithoutTlsAndTokens) {
  for (const char* address : {"0.0.0.0:0", "[::]:0", "example.org:7070", "10.0.0.1:0"}) {
    options_.listen = address;
    ExpectRefused("INSECURE_BIND");
  }
  WriteTokens(Line("g", "gina", "generate"));
  options_.listen = "0.0.0.0:0";
  ExpectRefused("INSECURE_BIND");
  MakeCertificates();
  options_.tokens_file.clear();
  ExpectRefused("INSECURE_BIND");
  options_.tls_cert_file.clear();
  options_.tls_key_file.clear();
  options_.insecure_i_know = true;
  EXPECT_TRUE(TryStart().ok());
}

TEST_F(ServerTest, SpeaksTlsAndRefusesPlaintextOnItsPort) {
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

TEST_F(ServerTest, WantsAClientCertificateOfItsAuthorityForMutualTls) {
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

TEST_F(ServerTest, ChecksItsTlsFilesBeforeItListens) {
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

TEST_F(ServerTest, NamesThePortThatItPicked) {
  Start();
  EXPECT_EQ(server_->address().rfind("127.0.0.1:", 0), 0U);
  EXPECT_NE(server_->address(), "127.0.0.1:0");
}

TEST_F(ServerTest, RefusesAPortThatAnotherServerHas) {
  Start();
  const std::string taken = server_->address();
  const auto first = std::move(server_);
  const auto engine = std::move(engine_);
  const auto pool = std::move(pool_);
  const auto executor = std::move(executor_);
  options_.listen = taken;
  const absl::Status status = TryStart();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(std::string(status.message()).find(taken), std::string::npos) << status;
  first->Shutdown(std::chrono::milliseconds(0));
}

TEST_F(ServerTest, ListensOnAUnixSocketWithMode0660) {
  options_.listen = "unix:" + Path("socket");
  Start();
  EXPECT_EQ(server_->address(), options_.listen);
  struct stat info {};
  ASSERT_EQ(stat(Path("socket").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660U);
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Generate(Ask("x", 2)).tokens, 2);
}

TEST_F(ServerTest, TakesOverAStaleSocketButNotALiveOneOrAFile) {
  options_.listen = "unix:" + Path("socket");
  Start();
  const auto first = std::move(server_);
  const auto engine = std::move(engine_);
  const auto pool = std::move(pool_);
  const auto executor = std::move(executor_);
  EXPECT_FALSE(TryStart().ok());
  EXPECT_EQ(Health(""), 1);  // the first one goes on
  first->Shutdown(std::chrono::milliseconds(0));
  ASSERT_EQ(std::system(("python3 -c 'import socket; s=socket.socket(socket.AF_UNIX); s.bind(\"" +
                         Path("socket") + "\")'")
                            .c_str()),
            0);
  EXPECT_TRUE(TryStart().ok());
  server_->Shutdown(std::chrono::milliseconds(0));
  server_.reset();
  WriteText(Path("socket"), "a file");
  EXPECT_FALSE(TryStart().ok());
  EXPECT_EQ(ReadText(Path("socket")), "a file");
}

TEST_F(ServerTest, SaysWhichServicesAreUp) {
  with_jobs_ = false;
  Start();
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Health("lfm2.v1.Generation"), 1);
  EXPECT_EQ(Health("lfm2.v1.Models"), 1);
  EXPECT_EQ(Health("lfm2.v1.Training"), 2);
  EXPECT_EQ(ReasonOf(Call("/lfm2.v1.Training/ListJobs", "")), "JOB_STORE_CORRUPT");
}

TEST_F(ServerTest, RefusesNewCallsWhileOpenOnesGoOnWhenItDrains) {
  script_.before_step = [](std::span<const StepItem>) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = Ask("x", 100);
  request.set_ignore_eos(true);
  const auto reader = generation_->Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  server_->BeginDrain();
  EXPECT_EQ(Health("lfm2.v1.Generation"), 2);
  EXPECT_EQ(Health("lfm2.v1.Training"), 2);
  EXPECT_EQ(Health(""), 1);
  const grpc::Status refused = Generate(Ask("y")).status;
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(refused), "DRAINING");
  EXPECT_TRUE(DetailsOfWire(refused).retry_after_ms.has_value());
  int tokens = 0;
  while (reader->Read(&event)) tokens += event.has_token() ? 1 : 0;
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(tokens, 100);
}

TEST_F(ServerTest, EndsWhatIsStillOpenWhenTheTimeToShutDownHasPassed) {
  script_.before_step = [](std::span<const StepItem>) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  };
  Start();
  grpc::ClientContext context;
  v1::GenerateRequest request = Ask("x", 4000);
  request.set_ignore_eos(true);
  const auto reader = generation_->Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  std::thread reading([&] {
    while (reader->Read(&event)) {
    }
  });
  server_->Shutdown(std::chrono::milliseconds(100));
  reading.join();
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(ReasonOf(status), "DRAINING");
}

}  // namespace
}  // namespace lfm2
