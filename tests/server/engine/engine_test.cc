#include "server/engine/engine.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "base/errors.h"
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

std::string TextOf(Engine& engine, GenerateRequest request) {
  auto sink = std::make_shared<RecordingSink>();
  EXPECT_TRUE(engine.Submit(std::move(request), sink).ok());
  EXPECT_TRUE(sink->Wait().status.ok()) << sink->Wait().status;
  return sink->text();
}

TEST(Engine, GeneratesUntilEos) {
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(Saying("hello")), "hi", 100), sink).ok());
  const GenerateEnd end = sink->Wait();
  EXPECT_TRUE(end.status.ok()) << end.status;
  EXPECT_EQ(end.finish_reason, FinishReason::kEos);
  EXPECT_EQ(end.completion_tokens, 6);
  EXPECT_EQ(end.prompt_tokens, 2);
  EXPECT_EQ(sink->text(), "hello");
  for (size_t i = 0; i < sink->events().size(); ++i) {
    EXPECT_EQ(sink->events()[i].index, static_cast<int64_t>(i));
  }
}

TEST(Engine, GivesTheSameTokensAloneAndAmongOthersWithSmallChunks) {
  Limits small;
  small.step_tokens = 7;
  small.running_sequences = 5;
  std::vector<std::string> alone;
  for (int i = 0; i < 24; ++i) {
    Engine engine(Limits(), Clock::Real());
    alone.push_back(TextOf(engine, Request(MakeFakeModel(), std::string(1 + i * 3, 'a' + i), 20)));
  }
  const auto counters = std::make_shared<FakeModelCounters>();
  const auto model = MakeFakeModel({}, counters);
  Engine engine(small, Clock::Real());
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 24; ++i) {
    sinks.push_back(std::make_shared<RecordingSink>());
    ASSERT_TRUE(engine.Submit(Request(model, std::string(1 + i * 3, 'a' + i), 20), sinks[i]).ok());
  }
  for (int i = 0; i < 24; ++i) EXPECT_EQ(sinks[i]->text(), alone[i]) << i;
  EXPECT_LE(counters->most_step_tokens, 7);
  EXPECT_LE(counters->most_step_items, 5);
  EXPECT_EQ(counters->live_states, 0);
}

TEST(Engine, ServesSeveralModelsAtOnce) {
  Engine engine(Limits(), Clock::Real());
  auto first = std::make_shared<RecordingSink>(), second = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(Saying("one")), "a", 50), first).ok());
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(Saying("two")), "b", 50), second).ok());
  EXPECT_EQ(first->text(), "one");
  EXPECT_EQ(second->text(), "two");
}

TEST(Engine, DecodesBetweenTheChunksOfALongPrompt) {
  Limits limits;
  limits.step_tokens = 10;
  Gate gate;
  std::vector<size_t> decoding_items;  // of each step while the long prompt is read
  FakeModelScript script = Gated(gate);
  script.before_step = [&](std::span<const StepItem> items) {
    gate.Pass();
    for (const StepItem& item : items) {
      if (item.history.size() > 50 && !item.sample) decoding_items.push_back(items.size() - 1);
    }
  };
  const auto model = MakeFakeModel(script);
  Engine engine(limits, Clock::Real());
  auto short_one = std::make_shared<RecordingSink>(), long_one = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 40), short_one).ok());
  gate.WaitForArrivals(1);
  ASSERT_TRUE(engine.Submit(Request(model, std::string(95, 'b'), 2), long_one).ok());
  gate.Open();
  EXPECT_TRUE(long_one->Wait().status.ok());
  EXPECT_TRUE(short_one->Wait().status.ok());
  ASSERT_GE(decoding_items.size(), 9U);
  for (const size_t items : decoding_items) EXPECT_EQ(items, 1U);
}

TEST(Engine, RefusesWhatIsOverTheWaitingLimitAndNothingBelowIt) {
  Limits limits;
  limits.waiting_requests = 3;
  limits.running_sequences = 1;
  Gate gate;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(limits, Clock::Real());
  auto running = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 2), running).ok());
  gate.WaitForArrivals(1);
  std::vector<std::shared_ptr<RecordingSink>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(std::make_shared<RecordingSink>());
    EXPECT_TRUE(engine.Submit(Request(model, "b", 2), waiting.back()).ok());
  }
  EXPECT_EQ(engine.stats().waiting, 3);
  EXPECT_EQ(engine.stats().running, 1);
  auto refused = std::make_shared<RecordingSink>();
  const absl::Status status = engine.Submit(Request(model, "c", 2), refused);
  EXPECT_EQ(ReasonOf(status), Reason::kQueueFull);
  EXPECT_TRUE(DetailsOf(status).retry_after_ms.has_value());
  gate.Open();
  for (const auto& sink : waiting) EXPECT_TRUE(sink->Wait().status.ok());
  EXPECT_TRUE(TextOf(engine, Request(model, "d", 2)).size() == 2);
  EXPECT_FALSE(refused->ended());
}

TEST(Engine, EndsACancelledSequenceBeforeTheNextStepAndFreesItsStateFirst) {
  Gate gate;
  const auto counters = std::make_shared<FakeModelCounters>();
  auto model = MakeFakeModel(Gated(gate), counters);
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  std::atomic<int64_t> live_at_end{-1};
  std::atomic<int64_t> model_users_at_end{-1};
  sink->on_end = [&] {
    live_at_end = counters->live_states.load();
    model_users_at_end = model.use_count();
  };
  ASSERT_TRUE(engine.Submit(Request(model, "a", 1000), sink).ok());
  gate.WaitForArrivals(1);
  sink->cancel = true;
  gate.Open();
  EXPECT_EQ(ReasonOf(sink->Wait().status), Reason::kCancelled);
  EXPECT_TRUE(sink->events().empty());  // nothing is sent to who does not want it any more
  EXPECT_EQ(live_at_end, 0);
  EXPECT_EQ(model_users_at_end, 1);
}

TEST(Engine, EndsACancelledSequenceThatWaits) {
  Limits limits;
  limits.running_sequences = 1;
  Gate gate;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(limits, Clock::Real());
  auto running = std::make_shared<RecordingSink>(), waiting = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 1000), running).ok());
  ASSERT_TRUE(engine.Submit(Request(model, "a", 1000), waiting).ok());
  gate.WaitForArrivals(1);
  waiting->cancel = true;
  gate.LetOnePass();
  EXPECT_EQ(ReasonOf(waiting->Wait().status), Reason::kCancelled);
  EXPECT_FALSE(running->ended());
  running->cancel = true;
  gate.Open();
  running->Wait();
}

TEST(Engine, EndsAtTheDeadlineInTheQueueAndInDecode) {
  Limits limits;
  limits.running_sequences = 1;
  Gate gate;
  FakeClock clock;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(limits, clock);
  auto running = std::make_shared<RecordingSink>(), waiting = std::make_shared<RecordingSink>();
  GenerateRequest request = Request(model, "a", 1000);
  request.deadline = clock.Now() + milliseconds(100);
  ASSERT_TRUE(engine.Submit(request, running).ok());
  ASSERT_TRUE(engine.Submit(request, waiting).ok());
  gate.WaitForArrivals(1);
  gate.LetOnePass();
  gate.WaitForArrivals(2);
  clock.Advance(milliseconds(100));
  gate.Open();
  EXPECT_EQ(ReasonOf(waiting->Wait().status), Reason::kDeadlineInQueue);
  const GenerateEnd end = running->Wait();
  EXPECT_EQ(ReasonOf(end.status), Reason::kDeadlineInDecode);
  EXPECT_EQ(DetailsOf(end.status).metadata.at("tokens"), "2");
  EXPECT_EQ(end.completion_tokens, 2);
}

TEST(Engine, EndsOnlyTheSequenceWhoseItemFails) {
  FakeModelScript script;
  script.fail_item = [](const StepItem& item) {
    return item.history[0] == 'x' && item.index == 3
               ? Error(Reason::kOutOfMemory, "no memory for this one")
               : absl::OkStatus();
  };
  const auto counters = std::make_shared<FakeModelCounters>();
  const auto model = MakeFakeModel(script, counters);
  Engine engine(Limits(), Clock::Real());
  auto good = std::make_shared<RecordingSink>(), bad = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 20), good).ok());
  ASSERT_TRUE(engine.Submit(Request(model, "x", 20), bad).ok());
  EXPECT_EQ(ReasonOf(bad->Wait().status), Reason::kOutOfMemory);
  EXPECT_EQ(bad->Wait().completion_tokens, 3);
  EXPECT_TRUE(good->Wait().status.ok());
  EXPECT_EQ(good->events().size(), 20U);
  EXPECT_EQ(counters->live_states, 0);
}

TEST(Engine, EndsOnlyTheSequenceThatGetsNoState) {
  FakeModelScript script;
  int made = 0;
  script.fail_new_state = [&made] {
    return ++made == 2 ? Error(Reason::kOutOfMemory, "no memory") : absl::OkStatus();
  };
  const auto model = MakeFakeModel(script);
  Engine engine(Limits(), Clock::Real());
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (int i = 0; i < 3; ++i) {
    sinks.push_back(std::make_shared<RecordingSink>());
    ASSERT_TRUE(engine.Submit(Request(model, "a", 3), sinks.back()).ok());
  }
  EXPECT_TRUE(sinks[0]->Wait().status.ok());
  EXPECT_EQ(ReasonOf(sinks[1]->Wait().status), Reason::kOutOfMemory);
  EXPECT_TRUE(sinks[2]->Wait().status.ok());
  EXPECT_EQ(engine.stats().waiting, 0);
  EXPECT_EQ(engine.stats().running, 0);
}

// Answers less than it was asked.
class ShortRunner : public FakeModelRunner {
 public:
  std::vector<StepOutput> Step(std::span<const StepItem>) override { return {}; }
};

TEST(Engine, EndsASequenceThatTheRunnerForgets) {
  auto model = MakeFakeModel();
  model->runner = std::make_unique<ShortRunner>();
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 3), sink).ok());
  EXPECT_EQ(ReasonOf(sink->Wait().status), Reason::kInternal);
}

TEST(Engine, DropsASequenceWhoseReaderTakesNoMore) {
  Engine engine(Limits(), Clock::Real());
  auto slow = std::make_shared<RecordingSink>();
  slow->refuse_from = 3;
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(), "a", 100), slow).ok());
  EXPECT_EQ(ReasonOf(slow->Wait().status), Reason::kSlowReader);
  EXPECT_EQ(slow->events().size(), 3U);
}

TEST(Engine, HoldsASequenceWhoseReaderHasNoRoomWhileOthersGoOn) {
  const auto model = MakeFakeModel();
  Engine engine(Limits(), Clock::Real());
  auto held = std::make_shared<RecordingSink>();
  held->on_token = [&](const TokenEvent& event) {
    if (event.index == 4) held->ready = false;
  };
  auto other = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 40), held).ok());
  ASSERT_TRUE(engine.Submit(Request(model, "b", 200), other).ok());
  EXPECT_TRUE(other->Wait().status.ok());
  EXPECT_FALSE(held->ended());
  EXPECT_LE(held->events().size(), 5U);
  held->ready = true;
  EXPECT_TRUE(held->Wait().status.ok());
  EXPECT_EQ(held->events().size(), 40U);
  auto cancelled = std::make_shared<RecordingSink>();
  cancelled->ready = false;
  ASSERT_TRUE(engine.Submit(Request(model, "c", 40), cancelled).ok());
  cancelled->cancel = true;
  EXPECT_EQ(ReasonOf(cancelled->Wait().status), Reason::kCancelled);
}

TEST(Engine, EndsWellWhenTheReaderRefusesTheLastToken) {
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  sink->refuse_from = 3;
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(), "a", 3), sink).ok());
  EXPECT_TRUE(sink->Wait().status.ok());
}

TEST(Engine, EndsARequestForNoTokenWithoutAStep) {
  const auto counters = std::make_shared<FakeModelCounters>();
  Engine engine(Limits(), Clock::Real());
  EXPECT_EQ(TextOf(engine, Request(MakeFakeModel({}, counters), "a", 0)), "");
  EXPECT_EQ(counters->steps, 0);
}

TEST(Engine, RunsTasksBetweenSteps) {
  const auto model = MakeFakeModel();
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 200), sink).ok());
  std::vector<std::vector<float>> scores(5);
  for (auto& score : scores) {
    ModelTask task;
    task.model = model;
    task.run = [&score](ModelRunner& runner) {
      score = runner.Score(std::vector<int32_t>{1, 2, 3}).value();
      return false;
    };
    ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  }
  ASSERT_TRUE(engine.Drain(kLong));
  for (const auto& score : scores) EXPECT_EQ(score, (std::vector<float>{-1, -2}));
  EXPECT_TRUE(sink->Wait().status.ok());
}

TEST(Engine, DropsATaskWhoseDeadlineHasPassed) {
  FakeClock clock;
  Engine engine(Limits(), clock);
  bool ran = false;
  absl::Status dropped;
  ModelTask task;
  task.model = MakeFakeModel();
  task.deadline = clock.Now();
  task.run = [&](ModelRunner&) {
    ran = true;
    return false;
  };
  task.dropped = [&](absl::Status status) { dropped = std::move(status); };
  ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  ASSERT_TRUE(engine.Drain(kLong));
  EXPECT_FALSE(ran);
  EXPECT_EQ(ReasonOf(dropped), Reason::kDeadlineInQueue);
}

TEST(Engine, DrainLetsAcceptedWorkEndAndRefusesNew) {
  Gate gate;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(Limits(), Clock::Real());
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 5), sink).ok());
  gate.WaitForArrivals(1);
  EXPECT_FALSE(engine.Drain(milliseconds(1)));
  EXPECT_EQ(ReasonOf(engine.Submit(Request(model, "b", 5), std::make_shared<RecordingSink>())),
            Reason::kDraining);
  gate.Open();
  EXPECT_TRUE(engine.Drain(kLong));
  EXPECT_TRUE(sink->ended());
  EXPECT_TRUE(sink->Wait().status.ok());
}

TEST(Engine, SaysOfAStreamThatIsCutThatItWasCut) {
  FakeClock clock;
  Gate gate;
  const auto model = MakeFakeModel(Gated(gate));
  Engine engine(Limits(), clock);
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 100'000), sink).ok());
  gate.WaitForArrivals(1);
  gate.LetOnePass();
  gate.WaitForArrivals(2);  // a token is made
  EXPECT_FALSE(engine.Drain(milliseconds(0)));
  clock.Advance(milliseconds(30'000));
  std::thread stopper([&] { engine.Stop(); });
  gate.Open();
  stopper.join();
  const absl::Status status = sink->Wait().status;
  EXPECT_EQ(ReasonOf(status), Reason::kDraining);
  EXPECT_EQ(status.message(), "stopped after 30000 ms while tokens were being generated");
}

TEST(Engine, StopEndsEverythingWithDraining) {
  Limits limits;
  limits.running_sequences = 1;
  Gate gate;
  const auto counters = std::make_shared<FakeModelCounters>();
  const auto model = MakeFakeModel(Gated(gate), counters);
  Engine engine(limits, Clock::Real());
  auto running = std::make_shared<RecordingSink>(), waiting = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(model, "a", 100'000), running).ok());
  ASSERT_TRUE(engine.Submit(Request(model, "a", 100'000), waiting).ok());
  std::atomic<bool> task_dropped{false};
  gate.WaitForArrivals(1);
  for (int i = 0; i < 3; ++i) {
    ModelTask task;
    task.model = model;
    task.run = [](ModelRunner&) { return false; };
    task.dropped = [&](const absl::Status& status) {
      task_dropped = ReasonOf(status) == Reason::kDraining;
    };
    ASSERT_TRUE(engine.Submit(std::move(task)).ok());
  }
  std::thread stopper([&] { engine.Stop(); });
  while (ReasonOf(engine.Submit(Request(model, "b", 5), std::make_shared<RecordingSink>())) !=
         Reason::kDraining) {
  }
  gate.Open();
  engine.Stop();
  stopper.join();
  EXPECT_EQ(ReasonOf(running->Wait().status), Reason::kDraining);
  EXPECT_EQ(ReasonOf(waiting->Wait().status), Reason::kDraining);
  EXPECT_TRUE(task_dropped);
  EXPECT_EQ(counters->live_states, 0);
  EXPECT_EQ(ReasonOf(engine.Submit(Request(model, "b", 5), std::make_shared<RecordingSink>())),
            Reason::kDraining);
}

TEST(Engine, HoldsNoLockWhileItCallsASink) {
  Engine engine(Limits(), Clock::Real());
  const auto model = MakeFakeModel();
  auto second = std::make_shared<RecordingSink>();
  auto first = std::make_shared<RecordingSink>();
  first->on_token = [&](const TokenEvent&) { engine.stats(); };
  first->on_end = [&] { EXPECT_TRUE(engine.Submit(Request(model, "b", 3), second).ok()); };
  ASSERT_TRUE(engine.Submit(Request(model, "a", 3), first).ok());
  EXPECT_TRUE(second->Wait().status.ok());
}

TEST(Engine, ReadsItsTimesFromTheClock) {
  FakeClock clock;
  FakeModelScript script;
  script.before_step = [&clock](std::span<const StepItem>) { clock.Advance(milliseconds(10)); };
  Engine engine(Limits(), clock);
  auto sink = std::make_shared<RecordingSink>();
  ASSERT_TRUE(engine.Submit(Request(MakeFakeModel(script), "a", 4), sink).ok());
  const GenerateEnd end = sink->Wait();
  EXPECT_EQ(end.queue_ms, 0);
  EXPECT_EQ(end.prefill_ms, 10);
  EXPECT_EQ(end.time_to_first_token_ms, 10);
  EXPECT_EQ(end.decode_ms, 30);
}

// Many threads submit and cancel at random moments; whatever happened, nothing is left.
TEST(Engine, LeavesNothingBehindWhenManyThreadsSubmitAndCancelAtRandom) {
  constexpr int kThreads = 8, kRequests = 150;
  Limits limits;
  limits.running_sequences = 6;
  limits.step_tokens = 16;
  limits.waiting_requests = 32;
  const auto counters = std::make_shared<FakeModelCounters>();
  const std::vector<std::shared_ptr<LoadedModel>> models = {MakeFakeModel({}, counters),
                                                            MakeFakeModel({}, counters)};
  std::atomic<int64_t> accepted{0}, ended{0}, wrong{0};
  Engine engine(limits, Clock::Real());
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<std::shared_ptr<RecordingSink>> sinks;
      for (int i = 0; i < kRequests; ++i) {
        auto sink = std::make_shared<RecordingSink>();
        sink->on_end = [&ended] { ++ended; };
        if (random() % 8 == 0) sink->refuse_from = random() % 10;
        GenerateRequest request =
            Request(models[random() % 2], std::string(1 + random() % 40, 'a'), 1 + random() % 60);
        if (random() % 8 == 0) request.deadline = Clock::Real().Now() + milliseconds(random() % 5);
        const absl::Status status = engine.Submit(std::move(request), sink);
        if (status.ok()) {
          ++accepted;
          sinks.push_back(sink);
        } else if (ReasonOf(status) != Reason::kQueueFull) {
          ++wrong;
        } else {
          std::this_thread::yield();
        }
        if (!sinks.empty() && random() % 2 == 0) sinks[random() % sinks.size()]->cancel = true;
      }
      for (const auto& sink : sinks) {
        if (random() % 2 == 0) sink->cancel = true;
        sink->Wait();
        if (sink->calls_after_end() != 0) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(engine.Drain(kLong));
  EXPECT_EQ(counters->live_states, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(ended, accepted);
  EXPECT_GT(accepted, kThreads);
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.finished, accepted);
}

}  // namespace
}  // namespace lfm2
