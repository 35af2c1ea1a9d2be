#include <gtest/gtest.h>

#include <stdexcept>

#include "base/errors.h"
#include "server/engine/engine.h"
#include "tests/fakes/fake_clock.h"
#include "tests/server/engine/request.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/gate.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLong{60'000};

Reason ReasonOf(const absl::Status& status) { return DetailsOf(status).reason; }

using Sinks = std::vector<std::shared_ptr<RecordingSink>>;

std::shared_ptr<RecordingSink> Start(Engine& engine, GenerateRequest request) {
  auto sink = std::make_shared<RecordingSink>();
  EXPECT_TRUE(engine.Submit(std::move(request), sink).ok());
  return sink;
}

std::string TextAlone(std::string_view prompt, int64_t tokens) {
  Engine engine(Limits(), Clock::Real());
  return Start(engine, Request(MakeFakeModel(), prompt, tokens))->text();
}

// Throws in the batch that makes the third token of the one whose prompt begins with 'x'.
FakeModelScript ThrowingFor(char poison) {
  FakeModelScript script;
  script.before_step = [poison](std::span<const StepItem> items) {
    for (const StepItem& item : items) {
      if (item.history[0] == poison && item.index == 2) throw std::runtime_error("a bad kernel");
    }
  };
  return script;
}

TEST(EngineFailure, EndsOnlyTheOneThatMakesItsBatchThrow) {
  const auto counters = std::make_shared<FakeModelCounters>();
  const auto model = MakeFakeModel(ThrowingFor('x'), counters);
  Engine engine(Limits(), Clock::Real());
  Sinks good;
  for (const char* prompt : {"a", "bb", "ccc"}) {
    good.push_back(Start(engine, Request(model, prompt, 20)));
  }
  const auto bad = Start(engine, Request(model, "xyz", 20));
  EXPECT_EQ(ReasonOf(bad->Wait().status), Reason::kInternal);
  EXPECT_EQ(bad->Wait().completion_tokens, 2);
  EXPECT_EQ(good[0]->text(), TextAlone("a", 20));
  EXPECT_EQ(good[1]->text(), TextAlone("bb", 20));
  EXPECT_EQ(good[2]->text(), TextAlone("ccc", 20));
  EXPECT_EQ(counters->live_states, 0);
}

// The runner itself says that the batch failed: the same.
class FailingRunner : public FakeModelRunner {
 public:
  explicit FailingRunner(int failures) : failures_(failures) {}
  std::vector<StepOutput> Step(std::span<const StepItem> items) override {
    std::vector<StepOutput> outputs = FakeModelRunner::Step(items);
    if (items.size() < 2 || failures_-- <= 0) return outputs;
    for (StepOutput& output : outputs) {
      output = {Error(Reason::kOutOfMemory, "no memory for all of it"), std::nullopt,
                FaultScope::kBatch};
    }
    return outputs;
  }

 private:
  int failures_;
};

TEST(EngineFailure, GoesOnWithTheSameTokensAfterABatchThatFailedOnce) {
  for (const int failures : {1, 2}) {
    auto model = MakeFakeModel();
    model->runner = std::make_unique<FailingRunner>(failures);
    Gate gate;
    Engine engine(Limits(), Clock::Real());
    Sinks sinks;
    for (const char* prompt : {"one", "two", "three"}) {
      sinks.push_back(Start(engine, Request(model, prompt, 12)));
    }
    EXPECT_EQ(sinks[0]->text(), TextAlone("one", 12)) << failures;
    EXPECT_EQ(sinks[1]->text(), TextAlone("two", 12));
    EXPECT_EQ(sinks[2]->text(), TextAlone("three", 12));
  }
}

TEST(EngineFailure, SaysThatTheGpuIsLostOnceARequestEndedForIt) {
  FakeModelScript script;
  Reason reason = Reason::kGpuOutOfMemory;
  script.fail_item = [&](const StepItem&) { return Error(reason, "broken"); };
  const auto model = MakeFakeModel(script);
  Engine engine(Limits(), Clock::Real());
  EXPECT_EQ(ReasonOf(Start(engine, Request(model, "one", 4))->Wait().status), reason);
  EXPECT_FALSE(engine.stats().gpu_lost);
  reason = Reason::kGpuFault;
  EXPECT_EQ(ReasonOf(Start(engine, Request(model, "two", 4))->Wait().status), reason);
  EXPECT_TRUE(engine.stats().gpu_lost);
}

TEST(EngineFailure, GivesUpOnBatchesThatKeepFailing) {
  auto model = MakeFakeModel();
  model->runner = std::make_unique<FailingRunner>(1 << 30);
  Engine engine(Limits(), Clock::Real());
  Sinks sinks;
  for (const char* prompt : {"one", "two"}) {
    sinks.push_back(Start(engine, Request(model, prompt, 200)));
  }
  // Whether both were ever in one batch again depends on the schedule; nobody runs for ever.
  for (const auto& sink : sinks) sink->Wait();
  EXPECT_TRUE(engine.Drain(kLong));
}

TEST(EngineFailure, SurvivesARunnerThatThrowsAtTheStart) {
  FakeModelScript script;
  script.fail_new_state = []() -> absl::Status { throw std::bad_alloc(); };
  Engine engine(Limits(), Clock::Real());
  EXPECT_EQ(ReasonOf(Start(engine, Request(MakeFakeModel(script), "a", 3))->Wait().status),
            Reason::kOutOfMemory);
  EXPECT_TRUE(Start(engine, Request(MakeFakeModel(), "a", 3))->Wait().status.ok());
}

TEST(EngineFailure, SurvivesASinkThatThrows) {
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  sink->on_token = [](const TokenEvent&) { throw std::runtime_error("odd"); };
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(), "a", 9), sink).ok());
  EXPECT_EQ(ReasonOf(sink->Wait().status), Reason::kInternal);
  EXPECT_TRUE(Start(engine, Request(MakeFakeModel(), "a", 3))->Wait().status.ok());
}

TEST(EngineFailure, DropsATaskThatThrows) {
  Engine engine(Limits(), Clock::Real());
  absl::Status dropped;
  ModelTask task;
  task.model = MakeFakeModel();
  task.run = [](ModelRunner&) -> bool { throw std::runtime_error("odd"); };
  task.dropped = [&](absl::Status status) { dropped = std::move(status); };
  ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  ASSERT_TRUE(engine.Drain(kLong));
  EXPECT_EQ(ReasonOf(dropped), Reason::kInternal);
}

TEST(EngineFailure, GivesBackTheStateOfAnEndedAndOfACancelledRequestToItsTenant) {
  std::vector<std::pair<size_t, std::string>> retired;
  Gate gate;
  FakeModelScript script = Gated(gate);
  script.on_retire = [&](std::span<const int32_t> tokens, std::string_view tenant) {
    retired.emplace_back(tokens.size(), std::string(tenant));
  };
  const auto model = MakeFakeModel(script);
  Engine engine(Limits(), Clock::Real());
  GenerateRequest request = Request(model, "abcd", 3);
  request.tenant = "ann";
  auto cancelled = Start(engine, request);
  gate.WaitForArrivals(1);
  cancelled->cancel = true;
  gate.Open();
  cancelled->Wait();
  Start(engine, request)->Wait();
  request.use_prefix_cache = false;
  Start(engine, request)->Wait();
  ASSERT_TRUE(engine.Drain(kLong));
  // The last token of an answer has not been through the model.
  EXPECT_EQ(retired, (std::vector<std::pair<size_t, std::string>>{{4, "ann"}, {6, "ann"}}));
}

// Every turn of a task that needs many is followed by a step, and prompts move on too.
TEST(EngineFailure, DecodesBetweenTheTurnsOfALongTask) {
  Gate gate;
  std::vector<char> order;  // 's' a step with a decoding sequence, 'p' with a prompt, 't' a turn
  FakeModelScript script;
  script.before_step = [&](std::span<const StepItem> items) {
    gate.Pass();
    bool decodes = false, reads = false;
    for (const StepItem& item : items) (item.index > 0 ? decodes : reads) = true;
    if (decodes) order.push_back('s');
    if (reads) order.push_back('p');
  };
  const auto model = MakeFakeModel(script);
  Limits limits;
  limits.step_tokens = 8;
  limits.prompt_chunk_tokens = 4;
  Engine engine(limits, Clock::Real());
  auto decoding = Start(engine, Request(model, "a", 60));
  gate.WaitForArrivals(1);
  auto reading = Start(engine, Request(model, std::string(40, 'b'), 1));
  ModelTask task;
  task.model = model;
  int turns = 0;
  task.run = [&](ModelRunner&) {
    order.push_back('t');
    return ++turns < 20;
  };
  ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  gate.Open();
  ASSERT_TRUE(engine.Drain(kLong));
  EXPECT_TRUE(decoding->Wait().status.ok());
  EXPECT_TRUE(reading->Wait().status.ok());
  EXPECT_EQ(turns, 20);
  const std::string all(order.begin(), order.end());
  const size_t first = all.find('t'), last = all.rfind('t');
  for (size_t i = first; i < last; ++i) {
    if (all[i] == 't') {
      EXPECT_EQ(all[i + 1], 's') << all;
    }
  }
  EXPECT_NE(all.substr(first, last - first).find('p'), std::string::npos) << all;
  EXPECT_EQ(all.find("tsp"), std::string::npos) << "a turn and a chunk in one iteration: " << all;
}

TEST(EngineFailure, RunsALowTaskWhenNoPromptWaitsOrItHasAged) {
  Gate gate;
  FakeClock clock;
  const auto model = MakeFakeModel(Gated(gate));
  Limits limits;
  limits.step_tokens = 2;
  Engine engine(limits, clock);
  auto reading = Start(engine, Request(model, std::string(40, 'b'), 1));
  gate.WaitForArrivals(1);
  std::atomic<bool> ran{false};
  ModelTask task;
  task.model = model;
  task.priority = Priority::kLow;
  task.run = [&](ModelRunner&) {
    ran = true;
    return false;
  };
  ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  for (int step = 2; step < 6; ++step) {
    gate.LetOnePass();
    gate.WaitForArrivals(step);
    EXPECT_FALSE(ran);
  }
  clock.Advance(milliseconds(limits.priority_ageing_ms));
  gate.LetOnePass();
  gate.WaitForArrivals(6);
  EXPECT_TRUE(ran);
  gate.Open();
  ASSERT_TRUE(engine.Drain(kLong));
}

TEST(EngineFailure, EndsATaskAtItsDeadlineOrCancelBetweenTwoTurns) {
  FakeClock clock;
  Engine engine(Limits(), clock);
  for (const bool by_deadline : {true, false}) {
    std::atomic<bool> cancelled{false};
    absl::Status dropped;
    int turns = 0;
    ModelTask task;
    task.model = MakeFakeModel();
    if (by_deadline) task.deadline = clock.Now() + milliseconds(50);
    task.stopped = [&] {
      return cancelled ? Error(Reason::kCancelled, "the caller cancelled") : absl::OkStatus();
    };
    task.run = [&](ModelRunner&) {
      if (++turns == 3) by_deadline ? clock.Advance(milliseconds(50)) : void(cancelled = true);
      return true;
    };
    std::atomic<bool> done{false};
    task.dropped = [&](absl::Status status) {
      dropped = std::move(status);
      done = true;
    };
    ASSERT_TRUE(engine.Submit(std::move(task)).ok());
    while (!done) std::this_thread::yield();
    EXPECT_EQ(ReasonOf(dropped), by_deadline ? Reason::kDeadlineInDecode : Reason::kCancelled);
    EXPECT_EQ(turns, 3);
  }
  ASSERT_TRUE(engine.Drain(kLong));
  EXPECT_EQ(engine.stats().waiting, 0);
}

TEST(EngineFailure, CapsWhatOneCallerMayHaveWaiting) {
  Limits limits;
  limits.running_sequences = 1;
  limits.waiting_requests_per_caller = 2;
  Gate gate;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(limits, Clock::Real());
  const auto submit = [&](const std::string& tenant) {
    GenerateRequest request = Request(model, "a", 2);
    request.tenant = tenant;
    return engine.Submit(std::move(request), std::make_shared<RecordingSink>());
  };
  ASSERT_TRUE(submit("bob").ok());
  gate.WaitForArrivals(1);
  EXPECT_TRUE(submit("ann").ok());
  EXPECT_TRUE(submit("ann").ok());
  EXPECT_EQ(ReasonOf(submit("ann")), Reason::kTooManyRequests);
  EXPECT_EQ(ReasonOf(engine.CheckRoom("ann")), Reason::kTooManyRequests);
  EXPECT_TRUE(engine.CheckRoom("bob").ok());
  EXPECT_TRUE(submit("bob").ok());
  EXPECT_EQ(engine.stats().waiting_tokens, 3);
  gate.Open();
  EXPECT_TRUE(engine.Drain(kLong));
  EXPECT_EQ(engine.stats().waiting_tokens, 0);
}

TEST(EngineFailure, DoesNotSendATokenThatCameAfterTheDeadline) {
  FakeClock clock;
  FakeModelScript script;
  script.before_step = [&](std::span<const StepItem> items) {
    if (items[0].index == 2) clock.Advance(milliseconds(100));
  };
  Engine engine(Limits(), clock);
  GenerateRequest request = Request(MakeFakeModel(script), "a", 9);
  request.deadline = clock.Now() + milliseconds(100);
  auto sink = Start(engine, std::move(request));
  EXPECT_EQ(ReasonOf(sink->Wait().status), Reason::kDeadlineInDecode);
  EXPECT_EQ(sink->events().size(), 2U);
}

TEST(EngineFailure, SaysThatARequestIsLateRatherThanCancelled) {
  FakeClock clock;
  FakeModelScript script;
  auto sink = std::make_shared<RecordingSink>();
  script.before_step = [&](std::span<const StepItem> items) {
    if (items[0].index != 2) return;
    clock.Advance(milliseconds(100));  // a client that gives up at its deadline is gone too
    sink->cancel = true;
  };
  Engine engine(Limits(), clock);
  GenerateRequest request = Request(MakeFakeModel(script), "a", 9);
  request.deadline = clock.Now() + milliseconds(100);
  ASSERT_TRUE(engine.Submit(std::move(request), sink).ok());
  EXPECT_EQ(ReasonOf(sink->Wait().status), Reason::kDeadlineInDecode);
}

TEST(EngineFailure, BeatsAfterATaskAndNotOnlyAfterTheStepBehindIt) {
  FakeClock clock;
  Gate gate;
  Engine engine(Limits(), clock);
  const auto model = MakeFakeModel(Gated(gate));
  auto sink = Start(engine, Request(model, "a", 3));
  gate.WaitForArrivals(1);
  ModelTask task;
  task.model = model;
  task.run = [&](ModelRunner&) {
    clock.Advance(milliseconds(5000));
    return false;
  };
  ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  gate.LetOnePass();
  gate.WaitForArrivals(2);
  EXPECT_EQ(engine.progress().since, clock.Now());
  gate.Open();
  ASSERT_TRUE(engine.Drain(kLong));
}

TEST(EngineFailure, BeatsWhileItWorksAndRestsWhileItDoesNot) {
  FakeClock clock;
  Gate gate;
  Engine engine(Limits(), clock);
  EXPECT_FALSE(engine.progress().busy);
  clock.Advance(milliseconds(500));
  auto sink = Start(engine, Request(MakeFakeModel(Gated(gate)), "a", 3));
  gate.WaitForArrivals(1);
  EngineProgress progress = engine.progress();
  EXPECT_TRUE(progress.busy);
  EXPECT_EQ(progress.since, clock.Now());
  clock.Advance(milliseconds(500));
  EXPECT_EQ(engine.progress().since, progress.since);
  gate.LetOnePass();
  gate.WaitForArrivals(2);
  EXPECT_GT(engine.progress().beats, progress.beats);
  EXPECT_EQ(engine.progress().since, clock.Now());
  gate.Open();
  ASSERT_TRUE(engine.Drain(kLong));
  EXPECT_FALSE(engine.progress().busy);
}

}  // namespace
}  // namespace lfm2
