// With and without drafted tokens everything that a request gives is equal: tokens, logprobs, text,
// how it ended, and what its state leaves for the next one.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "base/errors.h"
#include "model/formats/npz.h"
#include "tests/server/engine/golden_model.h"
#include "tests/server/engine/schedule.h"
#include "tests/server/fakes/fake_model_runner.h"

namespace lfm2 {
namespace {

using Tokens = std::vector<int32_t>;

Limits Drafting(int64_t tokens) {
  Limits limits;
  limits.speculative_tokens = tokens;
  limits.speculative_step_tokens = 32;
  return limits;
}

// Repeats itself, mostly: the token 6 to 9 before, with a surprise now and then, which may be eos.
int32_t NextRepeating(std::span<const int32_t> history, const StepItem&) {
  uint64_t hash = 1469598103934665603ULL;
  for (const int32_t token : history)
    hash = (hash ^ static_cast<uint64_t>(token)) * 1099511628211ULL;
  const uint64_t dice = (hash >> 20) % 400;
  if (dice == 0) return 258;
  if (dice < 40) return 'a' + static_cast<int32_t>((hash >> 40) % 26);
  const size_t back = 6 + static_cast<size_t>(history[0]) % 4;
  return history.size() < back ? 'x' : history[history.size() - back];
}

struct RetiredTexts {
  std::multimap<std::string, Tokens> by_tenant;
};

std::shared_ptr<LoadedModel> Repeating(
    RetiredTexts* retired = nullptr,
    std::shared_ptr<FakeModelCounters> counters = std::make_shared<FakeModelCounters>()) {
  FakeModelScript script;
  script.verifies_drafts = true;
  script.next = NextRepeating;
  if (retired != nullptr) {
    script.on_retire = [retired](std::span<const int32_t> tokens, std::string_view tenant) {
      retired->by_tenant.emplace(std::string(tenant), Tokens(tokens.begin(), tokens.end()));
    };
  }
  return MakeFakeModel(std::move(script), std::move(counters));
}

std::vector<Case> RandomCases(std::mt19937& random, const std::shared_ptr<LoadedModel>& model) {
  std::vector<Case> cases(1 + random() % 8);
  for (size_t i = 0; i < cases.size(); ++i) {
    GenerateRequest& request = cases[i].request;
    request.model = model;
    request.tenant = "caller " + std::to_string(i);  // whose state is whose
    const size_t size = 1 + random() % 60;
    const std::string_view words = "the cat sat on the mat, the cat sat on the hat, the rat ate. ";
    for (size_t at = 0; at < size; ++at) {
      request.prompt.push_back(static_cast<unsigned char>(words[(at + i) % words.size()]));
    }
    request.max_new_tokens = static_cast<int64_t>(random() % 120);
    request.ignore_eos = random() % 4 == 0;
    if (random() % 3 == 0) request.stop = {"he", "zz", "at on"};
    if (random() % 6 == 0) request.stop_ids = {'q', 'r'};
    if (random() % 2 == 0) request.sampling.logprobs = static_cast<int64_t>(random() % 3);
    if (random() % 5 == 0) cases[i].cancel_at = static_cast<int64_t>(1 + random() % 50);
    if (random() % 9 == 0) cases[i].refuse_from = static_cast<int64_t>(1 + random() % 50);
  }
  return cases;
}

TEST(Speculation, ChangesNothingInHundredsOfSchedules) {
  int64_t drafted = 0, accepted = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    RetiredTexts with, without;
    const auto counters = std::make_shared<FakeModelCounters>();
    Limits limits = Drafting(static_cast<int64_t>(1 + random() % 12));
    limits.step_tokens = static_cast<int64_t>(8 + random() % 40);
    limits.running_sequences = static_cast<int64_t>(1 + random() % 8);
    limits.prompt_chunk_tokens = static_cast<int64_t>(1 + random() % 16);
    std::vector<Case> cases = RandomCases(random, Repeating(&with, counters));
    std::vector<Outcome> drafting, plain;
    {
      Engine engine(limits, Clock::Real());
      drafting = RunAll(engine, cases);
    }
    EXPECT_LE(counters->most_step_tokens, limits.step_tokens);
    EXPECT_EQ(counters->live_states, 0);
    const auto other = Repeating(&without);
    for (Case& one : cases) one.request.model = other;
    {
      Engine engine(Drafting(0), Clock::Real());
      plain = RunAll(engine, cases);
    }
    for (size_t i = 0; i < cases.size(); ++i) {
      ExpectSame(drafting[i], plain[i]);
      drafted += drafting[i].end.drafted_tokens;
      accepted += drafting[i].end.accepted_tokens;
      EXPECT_EQ(plain[i].end.drafted_tokens, 0);
      EXPECT_LE(drafting[i].end.accepted_tokens, drafting[i].end.drafted_tokens);
      EXPECT_LT(drafting[i].end.accepted_tokens,
                std::max<int64_t>(1, drafting[i].end.completion_tokens));
    }
    EXPECT_EQ(with.by_tenant, without.by_tenant);
    if (HasFailure()) break;
  }
  EXPECT_GT(accepted, 5000);
  EXPECT_GT(drafted - accepted, 1000);  // wrong ones are tried too
}

TEST(Speculation, TakesFewerStepsForTheSameTokens) {
  const auto steps_of = [](int64_t tokens) {
    const auto counters = std::make_shared<FakeModelCounters>();
    FakeModelScript script;
    script.verifies_drafts = true;
    script.next = [](std::span<const int32_t> history, const StepItem&) {
      return 'a' + (history.back() - 'a' + 1) % 5;
    };
    Case one;
    one.request.model = MakeFakeModel(script, counters);
    one.request.prompt = BytesAsTokens("abcdeabcde");
    one.request.max_new_tokens = 200;
    Engine engine(Drafting(tokens), Clock::Real());
    const Outcome outcome = RunAll(engine, {one})[0];
    EXPECT_EQ(outcome.events.size(), 200U);
    EXPECT_EQ(outcome.end.accepted_tokens, 200 - counters->steps);
    return counters->steps.load();
  };
  EXPECT_EQ(steps_of(0), 200);
  EXPECT_LE(steps_of(8), 30);
}

TEST(Speculation, DraftsForGreedyRequestsAndForRunnersThatVerifyOnly) {
  for (const bool verifies : {false, true}) {
    for (const double temperature : {0.0, 1.0}) {
      bool drafted = false;
      FakeModelScript script;
      script.verifies_drafts = verifies;
      script.next = NextRepeating;
      script.before_step = [&](std::span<const StepItem> items) {
        for (const StepItem& item : items) drafted = drafted || !item.draft.empty();
      };
      Case one;
      one.request.model = MakeFakeModel(script);
      one.request.prompt = BytesAsTokens("abcabcabcabcabcabc");
      one.request.max_new_tokens = 60;
      one.request.ignore_eos = true;
      one.request.sampling.temperature = temperature;
      Engine engine(Drafting(8), Clock::Real());
      RunAll(engine, {one});
      EXPECT_EQ(drafted, verifies && temperature == 0) << verifies << temperature;
    }
  }
}

// Confirms more than it was asked.
class BoastingRunner : public FakeModelRunner {
 public:
  std::vector<StepOutput> Step(std::span<const StepItem> items) override {
    std::vector<StepOutput> outputs = FakeModelRunner::Step(items);
    for (StepOutput& output : outputs) output.more.resize(1);
    return outputs;
  }
  void Retire(std::unique_ptr<RunnerState>, std::span<const int32_t>, std::string_view) override {
    ADD_FAILURE() << "the state saw more than the engine counts";
  }
};

TEST(Speculation, EndsASequenceWhoseRunnerConfirmsWhatNobodyDrafted) {
  Case one;
  one.request.model = MakeFakeModel();
  one.request.model->runner = std::make_unique<BoastingRunner>();
  one.request.prompt = BytesAsTokens("abc");
  one.request.max_new_tokens = 5;
  Engine engine(Drafting(8), Clock::Real());
  EXPECT_EQ(DetailsOf(RunAll(engine, {one})[0].end.status).reason, Reason::kInternal);
}

// From here on: the CPU's runner with the golden models.

std::shared_ptr<LoadedModel> Golden(const std::string& name, int64_t kv_bytes = int64_t{1} << 30) {
  CpuLoaderOptions options;
  options.threads = 2;
  options.runner.kv_bytes = kv_bytes;
  options.runner.checkpoint_tokens = 16;
  return GoldenModel(name, options);
}

const char* const kGoldens[] = {"lfm2-tiny", "hybrid-sequential", "hybrid-parallel",
                                "hybrid-no-attention"};

// Some end by their length, some at any place of what was drafted.
TEST(Speculation, LeavesAsMuchForTheNextRequestAsWithout) {
  for (const char* name : kGoldens) {
    std::vector<PrefixReuse> reuse;
    for (const int64_t tokens : {0, 8}) {
      const auto model = Golden(name);
      Engine engine(Drafting(tokens), Clock::Real());
      for (int64_t length = 5; length < 60; length += 3) {
        std::mt19937 random(static_cast<uint32_t>(length));
        Case one;
        one.request.model = model;
        one.request.ignore_eos = true;
        one.request.prompt = {1, 2, 3, 4, static_cast<int32_t>(length), 2, 3, 4};
        one.request.max_new_tokens = length % 2 == 0 ? length : length + 20;
        if (length % 2 != 0) one.cancel_at = length;
        for (int turn = 0; turn < 3; ++turn) {
          const Outcome outcome = RunAll(engine, {one})[0];
          reuse.push_back(outcome.end.reuse);
          for (const TokenEvent& event : outcome.events) one.request.prompt.push_back(event.id);
        }
      }
    }
    const size_t half = reuse.size() / 2;
    for (size_t i = 0; i < half; ++i) {
      EXPECT_EQ(reuse[i].cached_tokens, reuse[half + i].cached_tokens) << name << i;
      EXPECT_EQ(reuse[i].replayed_tokens, reuse[half + i].replayed_tokens) << name << i;
    }
  }
}

std::unique_ptr<RunnerState> Fresh(LoadedModel& model) {
  const int32_t token = 1;
  return std::move(model.runner->Start({{&token, 1}, {}, false})->state);
}

struct Stepping {
  std::unique_ptr<RunnerState> state;
  Tokens history, draft;
  SamplingParams sampling;
  bool sample = true;

  StepItem item(size_t tokens) const {
    StepItem out;
    out.state = state.get();
    out.tokens = std::span(history).last(tokens);
    out.sample = sample;
    out.sampling = &sampling;
    out.history = history;
    out.draft = draft;
    return out;
  }
};

Stepping After(LoadedModel& model, const Tokens& prompt) {
  Stepping out;
  out.state = Fresh(model);
  out.history = prompt;
  out.sampling.logprobs = 2;
  return out;
}

// Greedy, one at a time.
Tokens Continuation(LoadedModel& model, const Tokens& prompt, size_t count) {
  Stepping stepping = After(model, prompt);
  Tokens out;
  for (size_t tokens = prompt.size(); out.size() < count; tokens = 1) {
    const StepItem item = stepping.item(tokens);
    const StepOutput output = model.runner->Step({&item, 1})[0];
    EXPECT_TRUE(output.status.ok()) << output.status;
    out.push_back(output.sample->id);
    stepping.history.push_back(output.sample->id);
  }
  return out;
}

TEST(Speculation, TheRunnerConfirmsTheLongestRightBeginning) {
  for (const char* name : kGoldens) {
    const auto model = Golden(name);
    const Tokens prompt = {3, 1, 4, 1, 5};
    const Tokens right = Continuation(*model, prompt, 10);
    for (size_t wrong_at = 0; wrong_at <= 6; ++wrong_at) {
      Stepping stepping = After(*model, prompt);
      stepping.draft.assign(right.begin(), right.begin() + 6);
      if (wrong_at < 6) stepping.draft[wrong_at] = (stepping.draft[wrong_at] + 1) % 50;
      const StepItem item = stepping.item(prompt.size());
      const StepOutput output = model->runner->Step({&item, 1})[0];
      ASSERT_TRUE(output.status.ok()) << output.status;
      EXPECT_EQ(output.sample->id, right[0]);
      ASSERT_EQ(output.more.size(), wrong_at) << name;
      for (size_t i = 0; i < wrong_at; ++i) EXPECT_EQ(output.more[i].id, right[i + 1]);
      // And goes on from there.
      stepping.history.insert(stepping.history.end(), right.begin(),
                              right.begin() + static_cast<std::ptrdiff_t>(wrong_at) + 1);
      stepping.draft.clear();
      const StepItem next = stepping.item(1);
      EXPECT_EQ(model->runner->Step({&next, 1})[0].sample->id, right[wrong_at + 1]);
    }
  }
}

TEST(Speculation, GuessesAreNotCutApartWhereAForwardIsFull) {
  const auto model = Golden("lfm2-tiny");
  const Tokens prompt = {3, 1, 4, 1, 5};
  const Tokens right = Continuation(*model, prompt, 9);
  for (size_t before = 500; before <= 514; ++before) {
    Stepping filler = After(*model, Tokens(before, 9)), stepping = After(*model, prompt);
    stepping.draft.assign(right.begin(), right.begin() + 8);
    const std::vector<StepItem> items = {filler.item(before), stepping.item(prompt.size())};
    const auto outputs = model->runner->Step(items);
    ASSERT_TRUE(outputs[1].status.ok());
    EXPECT_EQ(outputs[1].more.size(), 8U) << before;
  }
  Stepping longest = After(*model, prompt);
  longest.draft.assign(600, right[0]);
  const StepItem item = longest.item(prompt.size());
  EXPECT_TRUE(model->runner->Step({&item, 1})[0].status.ok());
}

TEST(Speculation, ADraftThatFindsNoMemoryCostsNothing) {
  const auto model = Golden("lfm2-tiny", 1);  // one block of 32 tokens
  Tokens prompt(31, 2);
  Stepping stepping = After(*model, prompt);
  stepping.draft = {1, 2, 3, 4};
  const StepItem item = stepping.item(31);
  const StepOutput output = model->runner->Step({&item, 1})[0];
  EXPECT_TRUE(output.status.ok()) << output.status;
  EXPECT_TRUE(output.sample.has_value());
  EXPECT_TRUE(output.more.empty());
}

TEST(Speculation, ADraftOfNoTokensOfTheModelFailsItsItem) {
  const auto model = Golden("lfm2-tiny");
  Stepping bad = After(*model, {1, 2}), good = After(*model, {1, 2});
  bad.draft = {1, 512};
  const auto outputs = model->runner->Step(std::vector<StepItem>{bad.item(2), good.item(2)});
  EXPECT_EQ(DetailsOf(outputs[0].status).reason, Reason::kInvalidArgument);
  EXPECT_TRUE(outputs[1].status.ok());
}

}  // namespace
}  // namespace lfm2
