// What has begun never ends for want of memory: keys, values and states are promised before.
#include "server/engine/state_memory.h"

#include <gtest/gtest.h>

#include <future>

#include "base/errors.h"
#include "server/engine/engine.h"
#include "server/engine/score_task.h"
#include "tests/server/engine/golden_model.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {
namespace {

constexpr std::chrono::seconds kLong{60};

std::shared_ptr<LoadedModel> Golden(const std::string& name, int64_t kv_bytes) {
  CpuLoaderOptions options;
  options.threads = 1;
  options.runner.kv_bytes = kv_bytes;
  options.runner.checkpoint_tokens = 16;
  return GoldenModel(name, options);
}

GenerateRequest Request(const std::shared_ptr<LoadedModel>& model, int64_t prompt_tokens,
                        int64_t new_tokens, int32_t salt = 0) {
  GenerateRequest request;
  request.model = model;
  request.max_new_tokens = new_tokens;
  request.ignore_eos = true;
  for (int64_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<int32_t>((i * 7 + salt) % 90 + 1));
  }
  return request;
}

TEST(StateMemory, HasNoLimitForALaneThatWasNotNamed) {
  LoadedModel first, second;
  StateMemory memory;
  memory.SetLimit(&first, 10);
  memory.Hold(&first, 7);
  EXPECT_TRUE(memory.HasRoom(&first, 3));
  EXPECT_FALSE(memory.HasRoom(&first, 4));
  EXPECT_TRUE(memory.HasRoom(&second, INT64_MAX));
}

TEST(StateMemory, IsPromisedBeforeSoThatEveryStreamComesToItsEnd) {
  for (const char* name :
       {"lfm2-tiny", "hybrid-sequential", "hybrid-parallel", "hybrid-no-attention"}) {
    SCOPED_TRACE(name);
    const auto roomy = Golden(name, int64_t{1} << 30);
    // Of eight requests at once, two or three have room.
    const auto tight = Golden(name, roomy->runner->StateMemory(170) * 5 / 2);
    Engine engine(Limits(), Clock::Real());
    std::vector<std::shared_ptr<RecordingSink>> sinks;
    for (int32_t i = 0; i < 8; ++i) {
      sinks.push_back(std::make_shared<RecordingSink>());
      ASSERT_TRUE(engine.Submit(Request(tight, 20, 120 + i, i), sinks.back()).ok());
    }
    for (int32_t i = 0; i < 8; ++i) {
      const GenerateEnd end = sinks[i]->Wait();
      EXPECT_TRUE(end.status.ok()) << i << ": " << end.status;
      auto alone = std::make_shared<RecordingSink>();
      ASSERT_TRUE(engine.Submit(Request(roomy, 20, 120 + i, i), alone).ok());
      alone->Wait();
      EXPECT_EQ(sinks[i]->ids(), alone->ids());
    }
  }
}

TEST(StateMemory, RefusesAtTheDoorWhatCanNeverRun) {
  const auto model = Golden("lfm2-tiny", 1 << 16);
  Engine engine(Limits(), Clock::Real());
  const auto refused = std::make_shared<RecordingSink>();
  const absl::Status status = engine.Submit(Request(model, 20, 100'000), refused);
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, Reason::kContextExceeded);
  const int64_t limit = std::stoll(details.metadata.at("limit"));
  ASSERT_GT(limit, 20);
  EXPECT_EQ(details.metadata.at("tokens"), "100020");
  EXPECT_EQ(refused->calls_after_end(), 0);

  // The limit it names is one that is taken, drafted tokens aside.
  Limits plain;
  plain.speculative_tokens = 0;
  Engine other(plain, Clock::Real());
  const auto taken = std::make_shared<RecordingSink>();
  ASSERT_TRUE(other.Submit(Request(model, 20, limit - 20), taken).ok());
  EXPECT_TRUE(taken->Wait().status.ok()) << taken->Wait().status;
  EXPECT_FALSE(other.Submit(Request(model, 20, limit - 19), taken).ok());

  ModelTask task;
  task.model = model;
  task.tokens = limit + 1;
  task.keeps_state = true;
  EXPECT_EQ(DetailsOf(engine.Submit(task)).reason, Reason::kContextExceeded);
}

// A text to score that needs all the memory waits until it is free, and nobody who came later
// passes it for ever.
TEST(StateMemory, LetsATaskThatNeedsAllOfItHaveItsTurn) {
  const auto model = Golden("lfm2-tiny", 1 << 18);
  int64_t most = 1;
  while (model->runner->StateMemory(most + 1) <= model->runner->state_memory_limit()) ++most;
  // Both are the engine's thread's until the text has been scored.
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  std::promise<std::pair<absl::Status, size_t>> scored;  // how, and after how many streams
  bool done = false;
  Engine engine(Limits(), Clock::Real());

  const auto submit_task = [&] {
    ModelTask task;
    task.model = model;
    task.tokens = most;
    task.keeps_state = true;
    const std::vector<int32_t> text(static_cast<size_t>(most), 5);
    task.run = [&, score = std::make_shared<ScoreTask>(text, 64)](ModelRunner& runner) {
      const absl::StatusOr<bool> more = score->Advance(runner);
      if (more.value_or(false)) return true;
      done = true;
      scored.set_value({more.status(), sinks.size()});
      return false;
    };
    EXPECT_TRUE(engine.Submit(std::move(task)).ok());
  };
  // Each stream brings the next one while it runs, so by itself the model is never idle.
  std::function<void()> bring = [&] {
    const auto sink = std::make_shared<RecordingSink>();
    sink->on_token = [&](const TokenEvent& event) {
      if (event.index == 0 && sinks.size() == 1) submit_task();
      if (event.index == 2 && sinks.size() < 100 && !done) bring();
    };
    sinks.push_back(sink);
    EXPECT_TRUE(engine.Submit(Request(model, 10, 20), sink).ok());
  };
  bring();
  auto outcome = scored.get_future();
  ASSERT_EQ(outcome.wait_for(kLong), std::future_status::ready);
  const auto [status, streams] = outcome.get();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_LT(streams, 10U);
  EXPECT_TRUE(engine.Drain(kLong));
  for (const auto& sink : sinks) EXPECT_TRUE(sink->Wait().status.ok()) << sink->Wait().status;
}

}  // namespace
}  // namespace lfm2
