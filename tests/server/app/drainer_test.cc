#include "server/app/drainer.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/server/fakes/gate.h"
#include "tests/server/fakes/recording_sink.h"
#include "tests/server/rpc/fake_job_queue.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

// What its Shutdown does is the test's to say.
class ScriptedJobs : public FakeJobQueue {
 public:
  explicit ScriptedJobs(std::function<void(milliseconds)> on_shutdown)
      : on_shutdown_(std::move(on_shutdown)) {}
  void Shutdown(milliseconds timeout) override { on_shutdown_(timeout); }

 private:
  const std::function<void(milliseconds)> on_shutdown_;
};

GenerateRequest Endless(const std::shared_ptr<LoadedModel>& model) {
  GenerateRequest request;
  request.model = model;
  request.prompt = {1, 2, 3};
  request.max_new_tokens = 100'000;
  return request;
}

TEST(Drainer, AsksTheJobsWhileTheEngineStillWorks) {
  Gate gate;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(Limits(), Clock::Real());
  ScriptedJobs jobs([&](milliseconds) { gate.Open(); });  // the engine's work ends after it
  auto sink = std::make_shared<RecordingSink>();
  GenerateRequest request = Endless(model);
  request.max_new_tokens = 3;
  ASSERT_TRUE(engine.Submit(std::move(request), sink).ok());
  gate.WaitForArrivals(1);
  Drainer(engine, &jobs).Wait(std::chrono::hours(1));
  EXPECT_TRUE(sink->Wait().status.ok()) << sink->Wait().status;
}

TEST(Drainer, EndsWhatIsOpenAtTheDeadlineAndAtOnceWhenTold) {
  for (const bool told : {false, true}) {
    const auto model = MakeFakeModel();
    Engine engine(Limits(), Clock::Real());
    FakeJobQueue jobs;
    auto sink = std::make_shared<RecordingSink>();
    std::atomic<bool> begun{false};
    sink->on_token = [&](const TokenEvent&) {
      begun = true;
      std::this_thread::sleep_for(milliseconds(1));
    };
    ASSERT_TRUE(engine.Submit(Endless(model), sink).ok());
    while (!begun) std::this_thread::yield();
    Drainer drain(engine, &jobs);
    std::thread waits([&] { drain.Wait(told ? std::chrono::hours(1) : milliseconds(10)); });
    if (told) drain.EndNow();
    waits.join();
    EXPECT_EQ(DetailsOf(sink->Wait().status).reason, Reason::kDraining) << sink->Wait().status;
  }
}

TEST(Drainer, NeedsNoJobs) {
  Engine engine(Limits(), Clock::Real());
  Drainer drain(engine, nullptr);
  drain.Wait(milliseconds(0));
  drain.EndNow();
  EXPECT_TRUE(drain.ended_now());
}

}  // namespace
}  // namespace lfm2
