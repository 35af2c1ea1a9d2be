// lfm2ctl health: calls grpc.health.v1 through a generic stub. Debian's gRPC has no generated code
// for that protocol. Its two messages have one field each, so this file encodes them by hand:
//   HealthCheckRequest  { string service = 1; }
//   HealthCheckResponse { ServingStatus status = 1; }  // 0 unknown, 1 serving, 2 not serving, 3
//   service unknown
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>

#include <memory>

#include "base/status_macros.h"
#include "client/flags/flags.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

constexpr char kMethod[] = "/grpc.health.v1.Health/Check";
constexpr double kTimeoutS = 10;

struct Flags {
  std::vector<std::string> services;
  bool live = false;
};

grpc::ByteBuffer EncodeRequest(const std::string& service) {
  std::string bytes;
  if (!service.empty()) {
    bytes += '\x0a';  // field 1, length-delimited
    for (size_t left = service.size();; left >>= 7) {
      const bool last = left < 0x80;
      bytes += static_cast<char>((left & 0x7F) | (last ? 0 : 0x80));
      if (last) break;
    }
    bytes += service;
  }
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// An absent field is 0: unknown. The enum has one-byte values.
int DecodeStatus(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return 0;
  std::string bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes.size() >= 2 && bytes[0] == '\x08' ? bytes[1] : 0;
}

absl::StatusOr<std::string> CheckService(Client& client, const std::string& service) {
  grpc::ClientContext context;
  client.Prepare(context, CallLength::kQuick);
  const Interrupts::Scope scope(client.interrupts(), &context);
  grpc::GenericStub stub(client.channel());
  grpc::CompletionQueue queue;
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call = stub.PrepareUnaryCall(&context, kMethod, EncodeRequest(service), &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) return std::string("unknown");
  LFM2_RETURN_IF_ERROR(Client::Failed(status, context));
  static constexpr const char* kNames[] = {"unknown", "serving", "not_serving", "unknown"};
  const int value = DecodeStatus(response);
  return std::string(value >= 0 && value < 4 ? kNames[value] : "unknown");
}

absl::Status Run(Session& session, Flags& flags) {
  if (!session.options.timeout_s) session.options.timeout_s = kTimeoutS;
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  if (flags.services.empty()) {
    flags.services = {""};
    if (!flags.live)
      flags.services.insert(flags.services.end(),
                            {"lfm2.v1.Generation", "lfm2.v1.Training", "lfm2.v1.Models"});
  }
  std::vector<Row> rows;
  Json services = Json::array();
  std::string failed;
  for (const std::string& service : flags.services) {
    LFM2_ASSIGN_OR_RETURN(const std::string state, CheckService(*client, service));
    const std::string name = service.empty() ? "(process)" : service;
    rows.push_back({name, state});
    services.push_back({{"service", service}, {"status", state}});
    if (state != "serving") {
      failed.append(failed.empty() ? "" : ", ").append(name).append(" is ").append(state);
    }
  }
  LFM2_RETURN_IF_ERROR(
      session.table()
          ? Write(session.console, RenderTable({"SERVICE", "STATUS"}, rows))
          : WriteJson(session.console, {{"serving", failed.empty()}, {"services", services}}));
  if (failed.empty()) return absl::OkStatus();
  return FromGrpc(grpc::Status(grpc::StatusCode::UNAVAILABLE, failed), "");
}

}  // namespace

void AddHealth(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand("health", "Exit code 0 when every service answers, else 6");
  const auto flags = std::make_shared<Flags>();
  TextsFlag(*verb, "--service", "Only this service, \"\" for the process; may be repeated [all]",
            [flags](const std::string& v) { flags->services.push_back(v); });
  verb->add_flag("--live", flags->live, "Check only that the process runs");
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
