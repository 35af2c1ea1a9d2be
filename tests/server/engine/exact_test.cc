// A request gives the same tokens and logprobs, bit for bit, alone on one thread as in any batch on
// two: with and without the prefix cache, its prompt whole or in chunks, with and without drafted
// tokens, greedy or sampled, beside others that are cancelled, in every format of the weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <tuple>

#include "tests/server/engine/golden_model.h"
#include "tests/server/engine/schedule.h"

namespace lfm2 {
namespace {

using Tokens = std::vector<int32_t>;
using Random = std::mt19937;

constexpr uint32_t kSchedules = 16;  // of each model and format, each run in four ways
constexpr size_t kTogether = 16;

// Of a low and a high bound, both included.
int64_t Draw(Random& random, int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random() % static_cast<uint32_t>(high - low + 1));
}

std::shared_ptr<LoadedModel> Golden(const std::string& name, const std::string& weights,
                                    int threads) {
  CpuLoaderOptions options;
  options.weights = weights;
  options.threads = threads;
  options.runner.checkpoint_tokens = 16;
  options.runner.prefix_cache_bytes = 1 << 20;  // little, so that parts of it are given up
  return GoldenModel(name, options);
}

// Repeats itself, so that guesses of how it goes on are often right.
Tokens RandomText(Random& random, const LoadedModel& model, int64_t size) {
  Tokens phrase(static_cast<size_t>(Draw(random, 3, 11)));
  for (int32_t& token : phrase) {
    token = static_cast<int32_t>(Draw(random, 0, model.config.vocab_size - 1));
  }
  Tokens text;
  for (int64_t i = 0; i < size; ++i) {
    text.push_back(phrase[static_cast<size_t>(i) % phrase.size()]);
  }
  return text;
}

// What several prompts begin with.
std::vector<Tokens> Beginnings(const LoadedModel& model) {
  Random random(1);
  std::vector<Tokens> beginnings;
  for (int i = 0; i < 4; ++i) beginnings.push_back(RandomText(random, model, 120));
  return beginnings;
}

// So that a conversation goes on from what was said.
void AddAnswer(Random& random, const GenerateRequest& request, const Outcome& outcome,
               std::vector<Tokens>& beginnings) {
  Tokens said = request.prompt;
  for (const TokenEvent& event : outcome.events) said.push_back(event.id);
  if (said.size() < 200) beginnings[random() % beginnings.size()] = std::move(said);
}

SamplingParams RandomSampling(Random& random) {
  SamplingParams sampling;
  sampling.logprobs = Draw(random, 0, 4);
  // Far below 1 what was said is said again, which right guesses live on.
  const double penalties[] = {1.05, 1, 0.6, 0.1, 0.02};
  sampling.repetition_penalty = penalties[random() % std::size(penalties)];
  if (random() % 2 == 0) return sampling;
  sampling.temperature = static_cast<double>(Draw(random, 2, 15)) / 10;
  sampling.seed = random();
  if (random() % 2 == 0) sampling.top_k = Draw(random, 1, 40);
  if (random() % 2 == 0) sampling.top_p = 0.9;
  return sampling;
}

GenerateRequest RandomRequest(Random& random, const LoadedModel& model,
                              const std::vector<Tokens>& beginnings) {
  GenerateRequest request;
  const Tokens& beginning = beginnings[random() % beginnings.size()];
  const auto size = static_cast<int64_t>(beginning.size());
  const int64_t shared = random() % 2 == 0 ? size : Draw(random, 0, size);
  request.prompt = RandomText(random, model, Draw(random, 1, 12));
  request.prompt.insert(request.prompt.begin(), beginning.begin(), beginning.begin() + shared);
  request.max_new_tokens = Draw(random, 1, 48);
  request.ignore_eos = random() % 3 != 0;
  if (random() % 4 == 0) {
    request.stop_ids = {static_cast<int32_t>(Draw(random, 0, model.config.vocab_size - 1))};
  }
  request.sampling = RandomSampling(random);
  return request;
}

// How a batch is run.
struct Way {
  bool cached = false, drafted = false;
};
constexpr Way kWays[] = {{false, false}, {false, true}, {true, false}, {true, true}};

Limits RandomLimits(Random& random, Way way) {
  Limits limits;
  limits.step_tokens = Draw(random, 2, 200);
  limits.prompt_chunk_tokens = Draw(random, 1, 64);
  limits.running_sequences = Draw(random, 1, kTogether);
  limits.speculative_tokens = way.drafted ? Draw(random, 1, 10) : 0;
  limits.speculative_step_tokens = 64;
  return limits;
}

class ExactTest : public testing::TestWithParam<std::tuple<const char*, const char*>> {
 protected:
  // One at a time, the prompt in one piece, nothing kept and nothing guessed.
  std::vector<Outcome> RunAlone(const std::vector<GenerateRequest>& requests) {
    std::vector<Outcome> outcomes;
    for (GenerateRequest request : requests) {
      request.model = alone_;
      request.use_prefix_cache = false;
      outcomes.push_back(std::move(RunAll(plain_, {{std::move(request)}})[0]));
    }
    return outcomes;
  }

  // All at once, some of them once more and cancelled on the way.
  void ExpectSameTogether(Random& random, const std::vector<GenerateRequest>& requests,
                          const std::vector<Outcome>& alone, Way way) {
    std::vector<Case> cases;
    std::vector<size_t> of;
    for (size_t i = 0; i < requests.size(); ++i) {
      Case one{requests[i]};
      one.request.model = together_;
      one.request.use_prefix_cache = way.cached;
      if (random() % 4 == 0) {
        cases.push_back(one);
        cases.back().cancel_at = Draw(random, 0, 12);
        of.push_back(i);
      }
      cases.push_back(std::move(one));
      of.push_back(i);
    }
    Engine engine(RandomLimits(random, way), Clock::Real());
    const std::vector<Outcome> outcomes = RunAll(engine, cases);
    for (size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE("request " + std::to_string(of[i]));
      cached_ += outcomes[i].end.reuse.cached_tokens;
      accepted_ += outcomes[i].end.accepted_tokens;
      wrong_ += outcomes[i].end.drafted_tokens - outcomes[i].end.accepted_tokens;
      if (cases[i].cancel_at == INT64_MAX) {
        ExpectSame(outcomes[i], alone[of[i]]);
      } else {
        ExpectSameUntilItsEnd(outcomes[i], alone[of[i]]);
      }
      if (HasFatalFailure()) return;
    }
  }

  void ExpectSameUntilItsEnd(const Outcome& cancelled, const Outcome& whole) {
    if (!cancelled.end.status.ok()) ++cancels_;
    ASSERT_LE(cancelled.events.size(), whole.events.size());
    for (size_t i = 0; i < cancelled.events.size(); ++i) {
      ExpectSame(cancelled.events[i], whole.events[i]);
      if (HasFatalFailure()) return;
    }
  }

  const std::string name_ = std::get<0>(GetParam()), weights_ = std::get<1>(GetParam());
  const std::shared_ptr<LoadedModel> alone_ = Golden(name_, weights_, 1);
  const std::shared_ptr<LoadedModel> together_ = Golden(name_, weights_, 2);
  Engine plain_{[] {
                  Limits limits;
                  limits.speculative_tokens = 0;
                  return limits;
                }(),
                Clock::Real()};
  int64_t cached_ = 0, accepted_ = 0, wrong_ = 0, cancels_ = 0;
};

TEST_P(ExactTest, InAnySchedule) {
  std::vector<Tokens> beginnings = Beginnings(*alone_);
  for (uint32_t seed = 0; seed < kSchedules; ++seed) {
    Random random(seed);
    std::vector<GenerateRequest> requests;
    for (int64_t i = Draw(random, 1, kTogether); i > 0; --i) {
      requests.push_back(RandomRequest(random, *alone_, beginnings));
    }
    const std::vector<Outcome> alone = RunAlone(requests);
    for (const Outcome& outcome : alone) ASSERT_TRUE(outcome.end.status.ok());
    for (const Way way : kWays) {
      SCOPED_TRACE("schedule " + std::to_string(seed) + (way.cached ? ", cached" : "") +
                   (way.drafted ? ", drafted" : ""));
      ExpectSameTogether(random, requests, alone, way);
      if (HasFailure()) return;
    }
    AddAnswer(random, requests[0], alone[0], beginnings);
  }
  // It was not for want of trying.
  EXPECT_GT(cached_, 5000);
  EXPECT_GT(accepted_, 5);
  EXPECT_GT(wrong_, 50);
  EXPECT_GT(cancels_, 50);
}

INSTANTIATE_TEST_SUITE_P(Models, ExactTest,
                         testing::Combine(testing::Values("lfm2-tiny", "lfm2-tiny-untied",
                                                          "hybrid-sequential", "hybrid-parallel",
                                                          "hybrid-no-attention"),
                                          testing::Values("f32", "bf16", "int8", "int4")),
                         [](const testing::TestParamInfo<ExactTest::ParamType>& which) {
                           std::string name = std::string(std::get<0>(which.param)) + "_" +
                                              std::get<1>(which.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace lfm2
