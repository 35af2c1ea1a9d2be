// One Generate call of the load generator, on gRPC's callback API. Thread rule: Start once; gRPC's
// threads do the rest. Ownership: owns itself from Start until its report has been given.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lfm2/v1/generation.grpc.pb.h"
#include "tests/load/timer.h"

namespace lfm2 {

struct CallPlan {
  v1::GenerateRequest request;
  std::chrono::milliseconds read_every{0};               // a pause before each read
  std::optional<std::chrono::milliseconds> cancel, cut;  // after the start
  std::optional<std::chrono::milliseconds> deadline;
};

struct CallReport {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  int64_t tokens = 0;
  std::optional<double> first_token_ms;
  double answer_ms = 0;         // until the first token, or the end where there was none
  std::vector<double> gaps_ms;  // between two tokens
};

class LoadCall final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  using Done = std::function<void(CallReport)>;
  // `cut` breaks the connection that `channel` goes over.
  static void Start(std::shared_ptr<grpc::Channel> channel, CallPlan plan, Timer& timer,
                    std::function<void()> cut, Done done);

  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  using Time = std::chrono::steady_clock::time_point;

  LoadCall(std::shared_ptr<grpc::Channel> channel, CallPlan plan, Timer& timer, Done done);
  double SinceStart() const;

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::Generation::Stub> stub_;
  const CallPlan plan_;
  Timer& timer_;
  const Done done_;
  // Shared with a cancel that may come after the end.
  const std::shared_ptr<grpc::ClientContext> context_ = std::make_shared<grpc::ClientContext>();
  v1::GenerateResponse event_;
  const Time began_ = std::chrono::steady_clock::now();
  Time last_token_;
  CallReport report_;
};

}  // namespace lfm2
