#include "server/rpc/transport/service_core.h"

#include <gtest/gtest.h>

#include "tests/server/rpc/server_fixture.h"

namespace lfm2 {
namespace {

class OpenCallsTest : public ServerTest {
 protected:
  // An open stream that nothing ends but its context.
  struct Open {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
  };
  std::unique_ptr<Open> OpenStream(const std::string& token = "") {
    auto open = std::make_unique<Open>();
    if (!token.empty()) open->context.AddMetadata("authorization", "Bearer " + token);
    v1::GenerateRequest request = Ask("x", 4000);
    request.set_ignore_eos(true);
    open->reader = generation_->Generate(&open->context, request);
    v1::GenerateResponse event;
    EXPECT_TRUE(open->reader->Read(&event));
    return open;
  }
  std::string ReasonOfCall(const std::string& token = "") {
    grpc::ClientContext context;
    if (!token.empty()) context.AddMetadata("authorization", "Bearer " + token);
    const Answer answer = Generate(Ask("x", 1), context);
    if (!answer.status.ok()) {
      EXPECT_TRUE(DetailsOfWire(answer.status).retry_after_ms.has_value());
    }
    return ReasonOf(answer.status);
  }
};

TEST_F(OpenCallsTest, HaveALimitForAll) {
  limits_.open_calls = 3;
  StepTakes(2);
  Start();
  std::vector<std::unique_ptr<Open>> streams;
  for (int i = 0; i < 3; ++i) streams.push_back(OpenStream());
  EXPECT_EQ(ReasonOfCall(), "QUEUE_FULL");
  EXPECT_TRUE(Eventually([&] { return server_->stats().open_streams == 3; }));
  streams[0]->context.TryCancel();
  EXPECT_TRUE(Eventually([&] { return ReasonOfCall() == "OK"; }));
  for (const auto& stream : streams) stream->context.TryCancel();
  EXPECT_TRUE(Eventually([&] { return server_->stats().open_calls == 0; }));
}

TEST_F(OpenCallsTest, HaveALimitForEachCaller) {
  limits_.open_calls_per_caller = 2;
  WriteTokens(Line("a", "ann", "generate") + Line("b", "bob", "generate"));
  StepTakes(2);
  Start();
  std::vector<std::unique_ptr<Open>> streams;
  for (int i = 0; i < 2; ++i) streams.push_back(OpenStream("a"));
  EXPECT_EQ(ReasonOfCall("a"), "TOO_MANY_REQUESTS");
  EXPECT_EQ(ReasonOfCall("b"), "OK");
  streams[0]->context.TryCancel();
  EXPECT_TRUE(Eventually([&] { return ReasonOfCall("a") == "OK"; }));
  streams[1]->context.TryCancel();
}

TEST_F(OpenCallsTest, WithoutTokensHaveNoLimitPerCaller) {
  limits_.open_calls_per_caller = 1;
  StepTakes(2);
  Start();
  const auto first = OpenStream(), second = OpenStream();
  first->context.TryCancel();
  second->context.TryCancel();
}

}  // namespace
}  // namespace lfm2
