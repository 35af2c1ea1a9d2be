// A connection to lfm2d: channel, credentials, deadlines, cancelling, and errors as absl::Status
// (client/terminal/failure.h).
//
// Thread rule: one call at a time from one thread. Ownership: borrows the Interrupts, which cancel
// the running call.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/terminal/failure.h"
#include "client/terminal/interrupts.h"
#include "lfm2/v1/generation.grpc.pb.h"
#include "lfm2/v1/models.grpc.pb.h"
#include "lfm2/v1/training.grpc.pb.h"

namespace lfm2 {

struct ClientOptions {
  std::string server = "127.0.0.1:7070";  // host:port or unix:PATH
  bool tls = false;                       // also on when one of the three files is given
  std::string tls_ca, tls_cert, tls_key;
  std::string token_file;
  std::optional<double> timeout_s;  // of each call, including streams
  std::string version;              // of this program, for the user agent
};

// kQuick: answers soon; 60 s unless the user sets a timeout. kLong: no timeout unless set.
enum class CallLength { kQuick, kLong };

class Client {
 public:
  // Checks files and address; connects at the first call. ConfigError, also when a token would be
  // sent over the network without TLS.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options,
                                                         Interrupts& interrupts);

  v1::Generation::Stub& generation() { return *generation_; }
  v1::Training::Stub& training() { return *training_; }
  v1::Models::Stub& models() { return *models_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  Interrupts& interrupts() { return interrupts_; }

  // Sets the deadline and the bearer token.
  void Prepare(grpc::ClientContext& context, CallLength length) const;

  template <class Stub, class Request, class Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, CallLength length = CallLength::kQuick) {
    grpc::ClientContext context;
    Prepare(context, length);
    const Interrupts::Scope scope(interrupts_, &context);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return Failed(status, context);
    return response;
  }

  // Gives each message to `on_message`; an error that it returns cancels the call and is returned.
  template <class Stub, class Request, class Response>
  absl::Status Stream(Stub& stub,
                      std::unique_ptr<grpc::ClientReader<Response>> (Stub::*method)(
                          grpc::ClientContext*, const Request&),
                      const Request& request,
                      const std::function<absl::Status(const Response&)>& on_message) {
    grpc::ClientContext context;
    Prepare(context, CallLength::kLong);
    const Interrupts::Scope scope(interrupts_, &context);
    const auto reader = (stub.*method)(&context, request);
    Response response;
    absl::Status own;
    while (own.ok() && reader->Read(&response)) own = on_message(response);
    if (!own.ok()) context.TryCancel();
    const grpc::Status status = reader->Finish();
    return own.ok() ? Failed(status, context) : own;
  }

  // The call's status, with the request id from the server's trailing metadata.
  static absl::Status Failed(const grpc::Status& status, const grpc::ClientContext& context);

 private:
  Client(std::shared_ptr<grpc::Channel> channel, std::string token, std::optional<double> timeout_s,
         Interrupts& interrupts);

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Generation::Stub> generation_;
  const std::unique_ptr<v1::Training::Stub> training_;
  const std::unique_ptr<v1::Models::Stub> models_;
  const std::string token_;
  const std::optional<double> timeout_s_;
  Interrupts& interrupts_;
};

// Stays on this machine: a Unix socket, localhost, 127.0.0.0/8, ::1.
bool IsLocalAddress(const std::string& server);

// 128 random bits as hexadecimal, for request ids.
std::string RandomId();

}  // namespace lfm2
