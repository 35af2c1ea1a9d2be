// lfm2_load: many clients of one lfm2d at once, and one line of JSON about how they fared.
#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/create_channel_posix.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/synchronization/mutex.h"
#include "tests/load/load_call.h"

namespace {

using std::chrono::milliseconds;
using Json = nlohmann::json;

struct Options {
  std::string server, model;
  int clients = 1;       // at once
  int64_t calls = 0;     // in all; 0: as the time says
  double seconds = 0;    // until no call is begun any more
  int connections = 16;  // the clients share them
  int64_t tokens = 16, prompt_tokens = 16;
  int64_t logprobs = -1;  // of each token, which make its event large
  int64_t read_ms = 0;
  int window = 0;  // bytes of an answer that a client takes ahead of its reads; 0: as gRPC does
  double cancel = 0, deadline = 0, kill = 0;  // shares of the calls
  int64_t within_ms = 50;                     // of their random times
  unsigned seed = 1;
};

double Percentile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

Json Summary(std::vector<double> values) {
  return {{"n", values.size()},
          {"p50", Percentile(values, 0.5)},
          {"p99", Percentile(values, 0.99)},
          {"max", Percentile(values, 1)}};
}

const char* NameOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    default:
      return "OTHER";
  }
}

// A connection of its own, which can be cut as if the client's process had been killed.
struct Doomed {
  std::shared_ptr<grpc::Channel> channel;
  std::function<void()> cut;
};

Doomed ConnectDoomed(const std::string& server) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  peer.sin_port = htons(static_cast<uint16_t>(std::stoi(server.substr(server.rfind(':') + 1))));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof(peer)) != 0) {
    close(fd);
    return {};
  }
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  const auto shared = std::shared_ptr<const int>(new int(own), [](const int* number) {
    close(*number);
    delete number;
  });
  return {grpc::CreateInsecureChannelFromFd("load", fd),
          [shared] { shutdown(*shared, SHUT_RDWR); }};
}

class Load {
 public:
  explicit Load(const Options& options) : options_(options), random_(options.seed) {
    for (int i = 0; i < options_.connections; ++i) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
      if (options_.window > 0) {
        arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // or it grows
        arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, options_.window);
      }
      channels_.push_back(grpc::CreateCustomChannel(options_.server,
                                                    grpc::InsecureChannelCredentials(), arguments));
      channels_.back()->WaitForConnected(std::chrono::system_clock::now() +
                                         std::chrono::seconds(30));
    }
  }

  Json Run() {
    began_ = std::chrono::steady_clock::now();
    for (int i = 0; i < options_.clients; ++i) Begin();
    std::unique_lock<std::mutex> lock(mutex_);
    ended_.wait(lock, [this] { return open_ == 0; });
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
    return {{"calls", begun_},
            {"by_status", by_status_},
            {"messages", messages_},
            {"tokens", tokens_},
            {"seconds", seconds},
            {"tokens_per_second", static_cast<double>(tokens_) / seconds},
            {"answer_ms", Summary(std::move(answers_))},
            {"refusal_ms", Summary(std::move(refusals_))},
            {"first_token_ms", Summary(std::move(first_tokens_))},
            {"inter_token_ms", Summary(std::move(gaps_))}};
  }

 private:
  bool MayBegin() const {
    if (options_.calls > 0) return begun_ < options_.calls;
    return std::chrono::steady_clock::now() - began_ <
           std::chrono::duration<double>(options_.seconds);
  }
  milliseconds RandomTime() {
    return milliseconds(std::uniform_int_distribution<int64_t>(0, options_.within_ms)(random_));
  }

  lfm2::CallPlan MakePlan() {
    lfm2::CallPlan plan;
    plan.read_every = milliseconds(options_.read_ms);
    plan.request.mutable_model()->set_name(options_.model);
    for (int64_t i = 0; i < options_.prompt_tokens; ++i) {
      plan.request.mutable_tokens()->add_ids(static_cast<int32_t>(random_() % 200));
    }
    plan.request.set_max_new_tokens(options_.tokens);
    plan.request.set_ignore_eos(true);
    if (options_.logprobs >= 0) plan.request.set_logprobs(options_.logprobs);
    const double chance = std::uniform_real_distribution<double>(0, 1)(random_);
    if (chance < options_.cancel) {
      plan.cancel = RandomTime();
    } else if (chance < options_.cancel + options_.deadline) {
      plan.deadline = RandomTime() + milliseconds(1);
    } else if (chance < options_.cancel + options_.deadline + options_.kill) {
      plan.cut = RandomTime();
    }
    return plan;
  }

  void Begin() {
    lfm2::CallPlan plan;
    std::shared_ptr<grpc::Channel> channel;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!MayBegin()) return;
      plan = MakePlan();
      channel = channels_[static_cast<size_t>(begun_) % channels_.size()];
      ++begun_;
      ++open_;
    }
    std::function<void()> cut;
    if (plan.cut) {
      Doomed doomed = ConnectDoomed(options_.server);
      if (doomed.channel != nullptr) std::tie(channel, cut) = std::pair(doomed.channel, doomed.cut);
      if (doomed.channel == nullptr) plan.cut.reset();
    }
    lfm2::LoadCall::Start(std::move(channel), std::move(plan), timer_, std::move(cut),
                          [this](lfm2::CallReport report) { End(std::move(report)); });
  }

  void End(lfm2::CallReport report) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ++by_status_[NameOf(report.code)];
      if (report.code != grpc::StatusCode::OK && messages_.size() < 8) {
        messages_.insert(report.message);
      }
      tokens_ += report.tokens;
      answers_.push_back(report.answer_ms);
      if (report.code == grpc::StatusCode::RESOURCE_EXHAUSTED) {
        refusals_.push_back(report.answer_ms);
      }
      if (report.first_token_ms) first_tokens_.push_back(*report.first_token_ms);
      gaps_.insert(gaps_.end(), report.gaps_ms.begin(), report.gaps_ms.end());
    }
    Begin();
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--open_ == 0) ended_.notify_all();
  }

  const Options options_;
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::mt19937 random_;
  std::chrono::steady_clock::time_point began_;
  int64_t begun_ = 0, open_ = 0, tokens_ = 0;
  std::map<std::string, int64_t> by_status_;
  std::set<std::string> messages_;
  std::vector<double> answers_, refusals_, first_tokens_, gaps_;
  lfm2::Timer timer_;
};

}  // namespace

int main(int argc, char** argv) {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);  // see server/main.cc
  Options options;
  CLI::App app{"lfm2_load: many clients of one lfm2d"};
  app.add_option("--server", options.server, "host:port on loopback")->required();
  app.add_option("--model", options.model)->required();
  app.add_option("--clients", options.clients, "calls that are open at once");
  app.add_option("--calls", options.calls, "calls in all; 0: as --seconds says");
  app.add_option("--seconds", options.seconds, "no call is begun after it");
  app.add_option("--connections", options.connections, "that the clients share");
  app.add_option("--tokens", options.tokens, "of each answer");
  app.add_option("--prompt_tokens", options.prompt_tokens);
  app.add_option("--logprobs", options.logprobs, "likeliest tokens told with each");
  app.add_option("--read_ms", options.read_ms, "pause before each read");
  app.add_option("--window", options.window, "bytes that a client takes ahead of its reads");
  app.add_option("--cancel", options.cancel, "share of calls that are cancelled");
  app.add_option("--deadline", options.deadline, "share of calls with a short deadline");
  app.add_option("--kill", options.kill, "share of calls whose connection is cut");
  app.add_option("--within_ms", options.within_ms, "these happen at a random time up to it");
  app.add_option("--seed", options.seed);
  CLI11_PARSE(app, argc, argv);
  std::cout << Load(options).Run().dump() << std::endl;
  std::_Exit(0);  // gRPC's own threads need no farewell
}
