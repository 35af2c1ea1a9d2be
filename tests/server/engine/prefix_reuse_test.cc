// What the engine asks of a runner that keeps prefixes, and what it gives back to it.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "server/engine/engine.h"
#include "tests/server/engine/request.h"
#include "tests/server/fakes/fake_model_runner.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {
namespace {

std::shared_ptr<RecordingSink> Generate(Engine& engine, GenerateRequest request) {
  auto sink = std::make_shared<RecordingSink>();
  EXPECT_TRUE(engine.Submit(std::move(request), sink).ok());
  sink->Wait();
  return sink;
}

TEST(PrefixReuse, TheEngineBeginsAfterWhatIsKept) {
  const std::string prompt(101, 'p');
  Engine engine(Limits(), Clock::Real());
  const std::string whole = Generate(engine, Request(MakeFakeModel(), prompt, 5))->text();
  FakeModelScript script;
  script.reuse = [](const StateRequest&) { return PrefixReuse{100, 20, PrefixMiss::kNone}; };
  const auto counters = std::make_shared<FakeModelCounters>();
  const auto sink = Generate(engine, Request(MakeFakeModel(script, counters), prompt, 5));
  EXPECT_EQ(sink->text(), whole);
  EXPECT_EQ(sink->Wait().reuse.cached_tokens, 100);
  EXPECT_EQ(sink->Wait().reuse.replayed_tokens, 20);
  EXPECT_EQ(sink->Wait().prompt_tokens, 101);
  EXPECT_EQ(counters->tokens, 21 + 4);
}

TEST(PrefixReuse, AStateThatLeavesNothingOfThePromptToRunIsRefused) {
  FakeModelScript script;
  script.reuse = [](const StateRequest&) { return PrefixReuse{3, 0, PrefixMiss::kNone}; };
  Engine engine(Limits(), Clock::Real());
  const auto sink = Generate(engine, Request(MakeFakeModel(script), "abc", 5));
  EXPECT_EQ(DetailsOf(sink->Wait().status).reason, Reason::kInternal);
}

TEST(PrefixReuse, AStateWhoseStepFailedDoesNotGoBack) {
  const auto counters = std::make_shared<FakeModelCounters>();
  FakeModelScript script;
  script.fail_item = [](const StepItem&) { return Error(Reason::kOutOfMemory, "no memory"); };
  script.on_retire = [](std::span<const int32_t>, std::string_view) { ADD_FAILURE(); };
  Engine engine(Limits(), Clock::Real());
  Generate(engine, Request(MakeFakeModel(script, counters), "abc", 3));
  EXPECT_EQ(counters->live_states, 0);
}

// Runs every step and keeps the sampled token to itself.
class SilentRunner : public FakeModelRunner {
 public:
  using FakeModelRunner::FakeModelRunner;
  std::vector<StepOutput> Step(std::span<const StepItem> items) override {
    std::vector<StepOutput> outputs = FakeModelRunner::Step(items);
    for (StepOutput& output : outputs) output.sample.reset();
    return outputs;
  }
  void Retire(std::unique_ptr<RunnerState>, std::span<const int32_t>, std::string_view) override {
    ADD_FAILURE() << "the state saw more than the engine counts";
  }
};

TEST(PrefixReuse, AStateThatSawMoreThanIsCountedDoesNotGoBack) {
  const auto model = MakeFakeModel();
  model->runner =
      std::make_unique<SilentRunner>(FakeModelScript(), std::make_shared<FakeModelCounters>());
  Engine engine(Limits(), Clock::Real());
  const auto sink = Generate(engine, Request(model, "abc", 3));
  EXPECT_EQ(DetailsOf(sink->Wait().status).reason, Reason::kInternal);
}

}  // namespace
}  // namespace lfm2
