#include "server/rpc/rpc_server.h"

#include <gtest/gtest.h>

#include "tests/fakes/fake_clock.h"
#include "tests/server/fakes/gate.h"
#include "tests/server/rpc/server_fixture.h"

namespace lfm2 {
namespace {

using RpcServerTest = ServerTest;

TEST_F(RpcServerTest, RefusesToListenBeyondLoopbackWithoutTlsAndTokens) {
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

TEST_F(RpcServerTest, NamesThePortThatItPicked) {
  Start();
  EXPECT_EQ(server_->address().rfind("127.0.0.1:", 0), 0U);
  EXPECT_NE(server_->address(), "127.0.0.1:0");
}

TEST_F(RpcServerTest, RefusesAPortThatAnotherServerHas) {
  Start();
  const std::string taken = server_->address();
  const auto first = std::move(server_);
  const auto engine = std::move(engine_);
  const auto pool = std::move(pool_);
  const auto executor = std::move(executor_);
  options_.listen = taken;
  const absl::Status status = TryStart();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kWrongState) << status;
  EXPECT_NE(std::string(status.message()).find(taken + ": another process has this port"),
            std::string::npos)
      << status;
  options_.listen = "198.51.100.1:0";  // TEST-NET-2: nobody's
  options_.insecure_i_know = true;
  const absl::Status foreign = TryStart();
  EXPECT_EQ(DetailsOf(foreign).reason, Reason::kInvalidArgument) << foreign;
  EXPECT_NE(std::string(foreign.message()).find("Cannot assign requested address"),
            std::string::npos)
      << foreign;
  first->Shutdown(std::chrono::milliseconds(0));
}

TEST_F(RpcServerTest, ListensOnAUnixSocketWithMode0660) {
  options_.listen = "unix:" + Path("socket");
  Start();
  EXPECT_EQ(server_->address(), options_.listen);
  struct stat info {};
  ASSERT_EQ(stat(Path("socket").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660U);
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Generate(Ask("x", 2)).tokens, 2);
}

TEST_F(RpcServerTest, TakesOverAStaleSocketButNotALiveOneOrAFile) {
  options_.listen = "unix:" + Path("socket");
  Start();
  const auto first = std::move(server_);
  const auto engine = std::move(engine_);
  const auto pool = std::move(pool_);
  const auto executor = std::move(executor_);
  EXPECT_EQ(DetailsOf(TryStart()).reason, Reason::kWrongState);
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

TEST_F(RpcServerTest, SaysWhichServicesAreUp) {
  with_jobs_ = false;
  Start();
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Health("lfm2.v1.Generation"), 1);
  EXPECT_EQ(Health("lfm2.v1.Models"), 1);
  EXPECT_EQ(Health("lfm2.v1.Training"), 2);
  EXPECT_EQ(ReasonOf(Call("/lfm2.v1.Training/ListJobs", "")), "JOB_STORE_CORRUPT");
}

TEST_F(RpcServerTest, SaysThatTrainingIsNotServedWhileNoWorkerCanBeStarted) {
  limits_.slow_reader_timeout_ms = 40;  // looks every 10 ms
  Start();
  EXPECT_EQ(Health("lfm2.v1.Training"), 1);
  jobs_.SetWorkers(Error(Reason::kInternal, "a worker cannot be started"));
  EXPECT_TRUE(Eventually([&] { return Health("lfm2.v1.Training") == 2; }));
  EXPECT_EQ(Health("lfm2.v1.Generation"), 1);
  jobs_.SetWorkers(absl::OkStatus());
  EXPECT_TRUE(Eventually([&] { return Health("lfm2.v1.Training") == 1; }));
}

TEST_F(RpcServerTest, SaysThatGenerationIsNotServedWhileTheEngineIsStuck) {
  FakeClock clock;
  clock_ = &clock;
  limits_.slow_reader_timeout_ms = 40;  // looks every 10 ms; no time passes but what is moved
  Gate gate;
  script_ = Gated(gate);
  Start();
  std::thread caller([&] { EXPECT_TRUE(Generate(Ask("x", 3)).status.ok()); });
  gate.WaitForArrivals(1);
  EXPECT_EQ(Health("lfm2.v1.Generation"), 1);
  clock.Advance(std::chrono::milliseconds(10'000));
  EXPECT_TRUE(Eventually([&] { return Health("lfm2.v1.Generation") == 2; }));
  EXPECT_FALSE(server_->stats().serving);
  EXPECT_EQ(Health(""), 1);
  EXPECT_EQ(Health("lfm2.v1.Models"), 1);
  gate.Open();
  caller.join();
  EXPECT_TRUE(Eventually([&] { return Health("lfm2.v1.Generation") == 1; }));
  clock_ = &Clock::Real();
  server_->Shutdown(std::chrono::milliseconds(0));
  server_.reset();
  engine_.reset();
}

TEST_F(RpcServerTest, RefusesNewCallsWhileOpenOnesGoOnWhenItDrains) {
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

TEST_F(RpcServerTest, EndsWhatIsStillOpenWhenTheTimeToShutDownHasPassed) {
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
