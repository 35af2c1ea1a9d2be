// What the CPU's runner says of its blocks of keys and values, whatever ended a request.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "server/engine/cpu_runner.h"
#include "server/engine/engine.h"
#include "server/engine/score_task.h"
#include "server/engine/self_test.h"
#include "tests/server/engine/golden_model.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {
namespace {

constexpr std::chrono::minutes kLong{5};

std::shared_ptr<LoadedModel> Load(int64_t prefix_cache_bytes) {
  CpuLoaderOptions options;
  options.runner.prefix_cache_bytes = prefix_cache_bytes;
  return GoldenModel("lfm2-tiny", options);
}

struct Kind {
  const char* name;
  std::function<void(Engine&)> submit;
};

std::vector<Kind> EachKind(const std::shared_ptr<LoadedModel>& model, bool use_cache) {
  const auto generate = [=](Engine& engine, int64_t refuse_from, bool cancels, SteadyTime until) {
    GenerateRequest request;
    request.model = model;
    request.prompt.assign(70, 7);
    request.max_new_tokens = 40;
    request.ignore_eos = true;
    request.use_prefix_cache = use_cache;
    request.deadline = until;
    auto sink = std::make_shared<RecordingSink>();
    sink->refuse_from = refuse_from;
    if (cancels) sink->on_token = [self = sink.get()](const TokenEvent&) { self->cancel = true; };
    EXPECT_TRUE(engine.Submit(std::move(request), sink).ok());
  };
  const auto score = [=](Engine& engine, int turns) {
    ModelTask task;
    task.model = model;
    task.run = [turns, score = std::make_shared<ScoreTask>(std::vector<int32_t>(200, 7), 64)](
                   ModelRunner& runner) mutable {
      return score->Advance(runner).value() && --turns > 0;
    };
    EXPECT_TRUE(engine.Submit(std::move(task)).ok());
  };
  const SteadyTime never = SteadyTime::max();
  return {{"whole", [=](Engine& engine) { generate(engine, INT64_MAX, false, never); }},
          {"slow reader", [=](Engine& engine) { generate(engine, 3, false, never); }},
          {"cancel", [=](Engine& engine) { generate(engine, INT64_MAX, true, never); }},
          {"deadline", [=](Engine& engine) { generate(engine, 3, false, SteadyTime()); }},
          {"score", [=](Engine& engine) { score(engine, 100); }},
          {"half a score", [=](Engine& engine) { score(engine, 2); }},
          {"self-test", [=](Engine& engine) {
             EXPECT_TRUE(engine.Submit(SelfTest(model, [](const absl::Status&) {})).ok());
           }}};
}

void ExpectNoneInUseAfterEach(const std::shared_ptr<LoadedModel>& model, bool use_cache) {
  for (const Kind& kind : EachKind(model, use_cache)) {
    Engine engine(Limits(), Clock::Real());
    kind.submit(engine);
    ASSERT_TRUE(engine.Drain(kLong));
    EXPECT_EQ(model->runner->blocks().in_use, 0) << kind.name;
  }
}

TEST(BlockUsage, NoBlockIsInUseAfterARequestOfAnyKind) {
  const auto model = Load(int64_t{1} << 30);
  ExpectNoneInUseAfterEach(model, /*use_cache=*/false);
  EXPECT_EQ(model->runner->blocks().cached, 0);
  ExpectNoneInUseAfterEach(model, /*use_cache=*/true);
  EXPECT_GT(model->runner->blocks().cached, 0);
}

TEST(BlockUsage, NoBlockIsHeldAtAllWithoutAPrefixCache) {
  const auto model = Load(0);
  ExpectNoneInUseAfterEach(model, /*use_cache=*/true);
  EXPECT_EQ(model->runner->blocks().cached, 0);
}

TEST(BlockUsage, ABlockThatASequenceSharesWithTheCacheIsInUseAndNotCached) {
  const auto model = Load(int64_t{1} << 30);
  const std::vector<int32_t> tokens(64, 7), longer(96, 7);  // two blocks and three
  const auto start = [&](std::span<const int32_t> prompt) {
    return std::move(model->runner->Start({prompt, "", true})->state);
  };
  const auto step = [&](RunnerState& state, std::span<const int32_t> run) {
    const SamplingParams greedy;
    StepItem item;
    item.state = &state;
    item.tokens = run;
    item.sampling = &greedy;
    item.history = run;
    EXPECT_TRUE(model->runner->Step({&item, 1})[0].status.ok());
  };
  auto first = start(tokens);
  step(*first, tokens);
  EXPECT_EQ(model->runner->blocks().in_use, 2);
  model->runner->Retire(std::move(first), tokens, "");
  EXPECT_EQ(model->runner->blocks().in_use, 0);
  EXPECT_EQ(model->runner->blocks().cached, 2);
  auto second = start(longer);
  EXPECT_EQ(model->runner->blocks().in_use, 2);
  EXPECT_EQ(model->runner->blocks().cached, 0);
  second.reset();
  EXPECT_EQ(model->runner->blocks().in_use, 0);
  EXPECT_EQ(model->runner->blocks().cached, 2);
}

TEST(BlockUsage, TheRunnersProgressMovesWithinAStep) {
  const auto model = Load(0);
  const int64_t before = model->runner->progress();
  Engine engine(Limits(), Clock::Real());
  EXPECT_TRUE(engine.Submit(SelfTest(model, [](const absl::Status&) {})).ok());
  ASSERT_TRUE(engine.Drain(kLong));
  EXPECT_GT(model->runner->progress(), before + 1);
}

}  // namespace
}  // namespace lfm2
