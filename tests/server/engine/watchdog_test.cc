#include "server/engine/watchdog.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/fakes/fake_clock.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/recording_sink.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

// Says so while a step makes progress.
class MovingRunner : public FakeModelRunner {
 public:
  MovingRunner(FakeModelScript script, std::shared_ptr<FakeModelCounters> counters,
               const std::atomic<int64_t>& moves)
      : FakeModelRunner(std::move(script), std::move(counters)), moves_(moves) {}
  int64_t progress() const override { return moves_; }

 private:
  const std::atomic<int64_t>& moves_;
};

class WatchdogTest : public testing::Test {
 protected:
  WatchdogTest() {
    store_ = ModelStore::Open(directory_.path() / "models", directory_.path() / "hf").value();
    WriteText(directory_.path() / "made" / "config.json", "{}");
    EXPECT_TRUE(store_->Publish(directory_.path() / "made", "fake", {}).ok());
    pool_ = std::make_unique<ModelPool>(
        *store_,
        [this](const ModelVersion&) -> absl::StatusOr<std::shared_ptr<LoadedModel>> {
          auto model = MakeFakeModel(script_, counters_);
          model->runner = std::make_unique<MovingRunner>(script_, counters_, moves_);
          return model;
        },
        2);
  }

  std::shared_ptr<LoadedModel> Load() {
    std::promise<std::shared_ptr<LoadedModel>> loaded;
    Executor loads(1, 4);
    EXPECT_FALSE(pool_
                     ->Acquire("fake", loads,
                               [&](const ModelPool::Acquired& model) { loaded.set_value(*model); })
                     .has_value());
    return loaded.get_future().get();
  }

  // Steps of models that are loaded from here on begin and wait for LetStepsEnd.
  void HoldSteps() {
    script_.before_step = [this, gate = go_.get_future().share()](std::span<const StepItem>) {
      if (first_.exchange(false)) entered_.set_value();
      gate.wait();
    };
  }
  void LetStepsEnd() { go_.set_value(); }
  // Of so many tokens; its first step has begun.
  std::shared_ptr<RecordingSink> Begin(Engine& engine, const std::shared_ptr<LoadedModel>& model,
                                       int64_t tokens) {
    GenerateRequest request;
    request.model = model;
    request.prompt = {1};
    request.max_new_tokens = tokens;
    auto sink = std::make_shared<RecordingSink>();
    EXPECT_TRUE(engine.Submit(std::move(request), sink).ok());
    entered_.get_future().get();
    return sink;
  }

  // Lets what was accepted end, without a wait in real time.
  void WaitUntilIdle(Engine& engine) {
    while (engine.progress().busy) std::this_thread::yield();
  }

  TempDirectory directory_;
  std::unique_ptr<ModelStore> store_;
  FakeModelScript script_;
  std::atomic<int64_t> moves_{0};
  std::promise<void> go_, entered_;
  std::atomic<bool> first_{true};
  std::shared_ptr<FakeModelCounters> counters_ = std::make_shared<FakeModelCounters>();
  std::unique_ptr<ModelPool> pool_;
  FakeClock clock_;
};

TEST_F(WatchdogTest, IsContentWhileThereIsNoModelAndNoWork) {
  Engine engine(Limits(), clock_);
  Watchdog watchdog(engine, *pool_, clock_, 8000);
  for (int i = 0; i < 30; ++i) {
    EXPECT_TRUE(watchdog.Look());
    clock_.Advance(milliseconds(1000));
  }
}

TEST_F(WatchdogTest, MakesATokenNowAndThenWhileTheEngineIsIdle) {
  const auto model = Load();
  Engine engine(Limits(), clock_);
  Watchdog watchdog(engine, *pool_, clock_, 8000);
  for (int second = 0; second < 20; ++second) {
    clock_.Advance(milliseconds(1000));
    EXPECT_TRUE(watchdog.Look());
    WaitUntilIdle(engine);
  }
  EXPECT_GE(counters_->steps, 5);
  EXPECT_LE(counters_->steps, 7);
  EXPECT_EQ(counters_->live_states, 0);
}

TEST_F(WatchdogTest, SaysSoWhenAStepDoesNotEndAndAgainWhenItDid) {
  HoldSteps();
  const auto model = Load();
  Engine engine(Limits(), clock_);
  Watchdog watchdog(engine, *pool_, clock_, 8000);
  const auto sink = Begin(engine, model, 3);
  clock_.Advance(milliseconds(7999));
  EXPECT_TRUE(watchdog.Look());
  clock_.Advance(milliseconds(1));
  EXPECT_FALSE(watchdog.Look());
  LetStepsEnd();
  EXPECT_TRUE(sink->Wait().status.ok());
  WaitUntilIdle(engine);
  EXPECT_TRUE(watchdog.Look());
}

TEST_F(WatchdogTest, IsContentWithALongStepAsLongAsItMoves) {
  HoldSteps();
  const auto model = Load();
  Engine engine(Limits(), clock_);
  Watchdog watchdog(engine, *pool_, clock_, 8000);
  const auto sink = Begin(engine, model, 1);
  for (int second = 0; second < 30; ++second) {
    clock_.Advance(milliseconds(1000));
    ++moves_;
    EXPECT_TRUE(watchdog.Look());
  }
  clock_.Advance(milliseconds(8000));
  EXPECT_FALSE(watchdog.Look());
  LetStepsEnd();
  EXPECT_TRUE(sink->Wait().status.ok());
}

TEST_F(WatchdogTest, FindsAnIdleEngineThatIsStuckByItsSelfTest) {
  HoldSteps();
  const auto model = Load();
  Engine engine(Limits(), clock_);
  Watchdog watchdog(engine, *pool_, clock_, 8000);
  int64_t seconds = 0;
  while (watchdog.Look() && seconds < 60) {
    clock_.Advance(milliseconds(1000));
    ++seconds;
  }
  EXPECT_LE(seconds, 9);  // tested after 3 s, stuck 4 s later, and a look is a second's
  LetStepsEnd();
  WaitUntilIdle(engine);
  EXPECT_TRUE(watchdog.Look());
}

TEST_F(WatchdogTest, SaysSoWhenTheSelfTestFailsUntilATokenIsMade) {
  std::atomic<bool> broken{true};
  script_.fail_item = [&](const StepItem&) {
    return broken ? Error(Reason::kGpuFault, "broken") : absl::OkStatus();
  };
  const auto model = Load();
  Engine engine(Limits(), clock_);
  Watchdog watchdog(engine, *pool_, clock_, 8000);
  clock_.Advance(milliseconds(4000));
  (void)watchdog.Look();
  WaitUntilIdle(engine);
  EXPECT_FALSE(watchdog.Look());
  EXPECT_TRUE(engine.stats().gpu_lost);
  broken = false;
  clock_.Advance(milliseconds(4000));
  (void)watchdog.Look();
  WaitUntilIdle(engine);
  EXPECT_TRUE(watchdog.Look());
}

}  // namespace
}  // namespace lfm2
