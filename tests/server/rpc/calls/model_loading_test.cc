#include <gtest/gtest.h>

#include "server/engine/model_pool.h"
#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

using ModelLoadingTest = RpcTest;

// More slow loads than the executor has threads: calls that need none of them are answered.
TEST_F(ModelLoadingTest, KeepsSlowLoadsAwayFromOtherCalls) {
  for (int i = 0; i < 8; ++i) PublishModel("slow" + std::to_string(i));
  limits_.loaded_models = 16;
  std::promise<void> go;
  before_load_ = [gate = go.get_future().share()](const std::string& name) {
    if (name != "fake") gate.wait();
  };
  Start();
  std::vector<std::thread> callers;
  std::atomic<int> answered{0};
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&, i] {
      v1::GenerateRequest request = Ask("x", 2);
      request.mutable_model()->set_name("slow" + std::to_string(i));
      const Answer answer = Generate(request);
      EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
      ++answered;
    });
  }
  ASSERT_TRUE(Eventually([&] { return server_->stats().open_streams == 8; }));
  for (int i = 0; i < 20; ++i) {
    v1::TokenizeRequest request;
    request.mutable_model()->set_name("fake");
    request.set_text("hello");
    v1::TokenizeResponse response;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
    const grpc::Status status = generation_->Tokenize(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_EQ(answered, 0);
  go.set_value();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(answered, 8);
}

TEST_F(ModelLoadingTest, ForgetsACallThatIsCancelledWhileItsModelLoads) {
  std::promise<void> go;
  before_load_ = [gate = go.get_future().share()](const std::string&) { gate.wait(); };
  Start();
  grpc::ClientContext context;
  const auto reader = generation_->Generate(&context, Ask("x", 2));
  ASSERT_TRUE(Eventually([&] { return server_->stats().open_streams == 1; }));
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return server_->stats().open_streams == 0; }));
  go.set_value();
  EXPECT_EQ(Generate(Ask("x", 2)).tokens, 2);
  EXPECT_EQ(counters_->states_made, 1);
}

TEST_F(ModelLoadingTest, PassesOnWhyAModelCannotBeLoaded) {
  before_load_ = [](const std::string&) { throw std::runtime_error("odd"); };
  Start();
  EXPECT_EQ(ReasonOf(Generate(Ask("x", 2)).status), "INTERNAL");
}

TEST_F(ModelLoadingTest, ByDefaultTakesTheNewestModelButForThoseOfOneCallersInitFrom) {
  PublishModel("init-0123456789ab", 3000);
  PublishModel("init-by-hand", 2000);
  Mutex mutex;
  std::vector<std::string> loaded;
  before_load_ = [&](const std::string& name) {
    MutexLock lock(mutex);
    loaded.push_back(name);
  };
  Start();
  v1::GenerateRequest request = Ask("x", 2);
  request.clear_model();
  EXPECT_TRUE(Generate(request).status.ok());
  MutexLock lock(mutex);
  EXPECT_EQ(loaded, std::vector<std::string>{"init-by-hand"});
}

}  // namespace
}  // namespace lfm2
