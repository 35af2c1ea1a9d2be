#include "server/rpc/transport/auth.h"

#include <gtest/gtest.h>

#include "tests/server/rpc/server_fixture.h"

namespace lfm2 {
namespace {

using AuthTest = ServerTest;

TEST_F(AuthTest, HasAnAccessRuleForEveryMethodOfTheProtocol) {
  const std::vector<std::string> methods = OwnMethods();
  EXPECT_EQ(methods.size(), 16U);
  for (const std::string& method : methods) {
    const MethodAccess* access = AccessOf(method);
    ASSERT_NE(access, nullptr) << method;
    EXPECT_NE(access->rule, MethodAccess::Rule::kOpen) << method;
  }
  EXPECT_EQ(AccessOf("/lfm2.v1.Generation/Unheard"), nullptr);
}

TEST_F(AuthTest, GivesEachMethodToItsScopeOnly) {
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

TEST_F(AuthTest, LeavesHealthOpenAndGuardsReflection) {
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

TEST_F(AuthTest, TakesTheBearerSchemeInAnyCaseButNoOther) {
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

TEST_F(AuthTest, ACredentialOfSystemdMayBeReadByItsGroup) {
  WriteTokens(Line("g", "gina", "generate"), 0440);
  ExpectRefused("CONFIG_INVALID");
  setenv("CREDENTIALS_DIRECTORY", (directory_.path().string() + "/").c_str(), 1);
  EXPECT_TRUE(RpcServer::Check(options_).ok()) << RpcServer::Check(options_);
  for (const mode_t mode : {0444, 0460}) {
    chmod(options_.tokens_file.c_str(), mode);
    EXPECT_FALSE(RpcServer::Check(options_).ok()) << mode;
  }
  chmod(options_.tokens_file.c_str(), 0440);
  setenv("CREDENTIALS_DIRECTORY", "/run/credentials/other", 1);
  ExpectRefused("CONFIG_INVALID");
  unsetenv("CREDENTIALS_DIRECTORY");
}

TEST_F(AuthTest, RefusesATokensFileThatOthersMayReadOrThatIsWrong) {
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

}  // namespace
}  // namespace lfm2
