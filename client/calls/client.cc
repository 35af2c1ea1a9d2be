#include "client/calls/client.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "client/flags/flags.h"

namespace lfm2 {
namespace {

constexpr int64_t kConfigFileBytes = 1 << 20;
constexpr double kQuickTimeoutS = 60;
constexpr double kLongestTimeoutS = 31'536'000;  // a year, which a deadline can represent

absl::StatusOr<std::string> ReadConfigFile(const std::string& path, const char* flag) {
  absl::StatusOr<std::string> text = ReadFlagFile(flag, path, kConfigFileBytes);
  if (!text.ok()) return ConfigError(std::string(text.status().message()));
  if (text->empty()) return ConfigError(std::string(flag) + ": " + path + " is empty");
  return text;
}

absl::StatusOr<std::string> ReadPem(const std::string& path, const char* flag) {
  if (path.empty()) return std::string();
  LFM2_ASSIGN_OR_RETURN(std::string text, ReadConfigFile(path, flag));
  if (text.find("-----BEGIN ") == std::string::npos) {
    return ConfigError(std::string(flag) + ": " + path + " is not PEM");
  }
  return text;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return std::string();
  LFM2_ASSIGN_OR_RETURN(std::string text, ReadConfigFile(path, "--token_file"));
  absl::StripAsciiWhitespace(&text);
  if (text.empty()) return ConfigError("--token_file: " + path + " holds no token");
  for (const char c : text) {
    if (c <= ' ' || c > '~') {
      return ConfigError("--token_file: " + path +
                         " must hold one token of printable ASCII without spaces");
    }
  }
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ClientOptions& options) {
  const bool files =
      !options.tls_ca.empty() || !options.tls_cert.empty() || !options.tls_key.empty();
  if (!options.tls && !files) return grpc::InsecureChannelCredentials();
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return ConfigError("--tls_cert and --tls_key must be given together: one of them is missing");
  }
  grpc::SslCredentialsOptions tls;
  LFM2_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadPem(options.tls_ca, "--tls_ca"));
  LFM2_ASSIGN_OR_RETURN(tls.pem_cert_chain, ReadPem(options.tls_cert, "--tls_cert"));
  LFM2_ASSIGN_OR_RETURN(tls.pem_private_key, ReadPem(options.tls_key, "--tls_key"));
  return grpc::SslCredentials(tls);
}

absl::Status CheckAddress(const std::string& server) {
  if (server.rfind("unix:", 0) == 0) {
    return server.size() > 5 ? absl::OkStatus() : ConfigError("--server: unix: needs a path");
  }
  const size_t colon = server.rfind(':');
  const std::string port = colon == std::string::npos ? "" : server.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 &&
                      port.find_first_not_of("0123456789") == std::string::npos;
  if (colon == 0 || !digits || std::stoi(port) < 1 || std::stoi(port) > 65'535) {
    return ConfigError("--server: \"" + server + "\" is neither HOST:PORT nor unix:PATH");
  }
  return absl::OkStatus();
}

grpc::ChannelArguments MakeArguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kDefaultLimits.message_bytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(kDefaultLimits.message_bytes));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(kDefaultLimits.keepalive_ms));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(kDefaultLimits.keepalive_timeout_ms));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  if (IsLocalAddress(options.server)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetUserAgentPrefix("lfm2ctl/" + options.version);
  return arguments;
}

}  // namespace

bool IsLocalAddress(const std::string& server) {
  if (server.rfind("unix:", 0) == 0) return true;
  std::string host = server.substr(0, server.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  if (absl::AsciiStrToLower(host) == "localhost") return true;
  in_addr v4{};
  in6_addr v6{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options,
                                                        Interrupts& interrupts) {
  LFM2_RETURN_IF_ERROR(CheckAddress(options.server));
  if (options.timeout_s && !(*options.timeout_s > 0 && *options.timeout_s <= kLongestTimeoutS)) {
    return UsageError(absl::StrFormat("--timeout is %g s, allowed is over 0 to %g",
                                      *options.timeout_s, kLongestTimeoutS));
  }
  LFM2_ASSIGN_OR_RETURN(std::string token, ReadToken(options.token_file));
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials,
                        MakeCredentials(options));
  const bool plain = !options.tls && options.tls_ca.empty() && options.tls_cert.empty();
  if (!token.empty() && plain && !IsLocalAddress(options.server)) {
    return ConfigError("the token would be sent to " + options.server +
                       " unencrypted: give --tls_ca or --tls, or use a loopback or Unix address");
  }
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(options.server, credentials, MakeArguments(options));
  return std::unique_ptr<Client>(
      new Client(std::move(channel), std::move(token), options.timeout_s, interrupts));
}

Client::Client(std::shared_ptr<grpc::Channel> channel, std::string token,
               std::optional<double> timeout_s, Interrupts& interrupts)
    : channel_(std::move(channel)),
      generation_(v1::Generation::NewStub(channel_)),
      training_(v1::Training::NewStub(channel_)),
      models_(v1::Models::NewStub(channel_)),
      token_(std::move(token)),
      timeout_s_(timeout_s),
      interrupts_(interrupts) {}

void Client::Prepare(grpc::ClientContext& context, CallLength length) const {
  std::optional<double> seconds = timeout_s_;
  if (!seconds && length == CallLength::kQuick) seconds = kQuickTimeoutS;
  if (seconds) {
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::microseconds(static_cast<int64_t>(*seconds * 1e6)));
  }
  if (!token_.empty()) context.AddMetadata("authorization", "Bearer " + token_);
}

absl::Status Client::Failed(const grpc::Status& status, const grpc::ClientContext& context) {
  if (status.ok()) return absl::OkStatus();
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find("x-request-id");
  const std::string request_id =
      it == trailers.end() ? "" : std::string(it->second.data(), it->second.size());
  return FromGrpc(status, request_id);
}

std::string RandomId() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 4; ++i) id += absl::StrFormat("%08x", static_cast<uint32_t>(device()));
  return id;
}

}  // namespace lfm2
