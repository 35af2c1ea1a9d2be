#include "server/engine/scheduler.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "server/engine/loaded_model.h"

namespace lfm2 {
namespace {

using Chunks = std::vector<std::pair<size_t, int64_t>>;

struct Lanes {
  LoadedModel first, second;
};

Chunks Pairs(const LaneStep& step) {
  Chunks pairs;
  for (const Chunk& chunk : step.chunks) pairs.emplace_back(chunk.sequence, chunk.tokens);
  return pairs;
}

StepLimits Budget(int64_t step_tokens, int64_t places = 64, int64_t chunk = 1 << 20) {
  StepLimits limits;
  limits.step_tokens = step_tokens;
  limits.running_sequences = places;
  limits.prompt_chunk_tokens = chunk;
  limits.ageing_ms = 1000;
  return limits;
}

std::vector<LaneStep> Plan(std::span<const ScheduledSequence> sequences, const StepLimits& limits) {
  FairShare share;
  return PlanStep(sequences, limits, share);
}

ScheduledSequence Prompt(const LoadedModel& lane, int64_t pending, std::string_view caller = "",
                         Priority priority = Priority::kNormal, int64_t waited_ms = 0) {
  ScheduledSequence sequence;
  sequence.lane = &lane;
  sequence.pending = pending;
  sequence.caller = caller;
  sequence.priority = priority;
  sequence.waited_ms = waited_ms;
  return sequence;
}

ScheduledSequence Decoding(const LoadedModel& lane, std::string_view caller = "") {
  ScheduledSequence sequence = Prompt(lane, 1, caller);
  sequence.decoding = true;
  sequence.started = true;
  return sequence;
}

TEST(PlanStep, HasNothingToDoWithoutSequences) { EXPECT_TRUE(Plan({}, Budget(512)).empty()); }

TEST(PlanStep, TakesEveryDecodingSequenceThenFillsTheBudgetInOrderOfArrival) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {Prompt(lanes.first, 10), Decoding(lanes.first),
                                                    Prompt(lanes.first, 10), Decoding(lanes.first),
                                                    Prompt(lanes.first, 10)};
  const auto steps = Plan(sequences, Budget(16));
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{1, 1}, {3, 1}, {0, 10}, {2, 4}}));
}

TEST(PlanStep, DividesALongPromptIntoChunksOfTheBudget) {
  Lanes lanes;
  EXPECT_EQ(Pairs(Plan(std::vector{Prompt(lanes.first, 1000)}, Budget(128))[0]),
            (Chunks{{0, 128}}));
}

TEST(PlanStep, GivesPromptsOneChunkWhileAnythingDecodesAndTheWholeBudgetOtherwise) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Prompt(lanes.first, 300), Prompt(lanes.second, 300),
                                              Decoding(lanes.second)};
  const auto beside = Plan(sequences, Budget(512, 64, 100));
  ASSERT_EQ(beside.size(), 2U);
  EXPECT_EQ(Pairs(beside[0]), (Chunks{{2, 1}}));
  EXPECT_EQ(Pairs(beside[1]), (Chunks{{0, 100}}));
  sequences.pop_back();
  const auto alone = Plan(sequences, Budget(512, 64, 100));
  ASSERT_EQ(alone.size(), 2U);
  EXPECT_EQ(Pairs(alone[0]), (Chunks{{0, 300}}));
  EXPECT_EQ(Pairs(alone[1]), (Chunks{{1, 212}}));
}

TEST(PlanStep, GivesPromptsNothingBesideDecodingWhenTheChunkIsZero) {
  Lanes lanes;
  EXPECT_EQ(Pairs(Plan(std::vector{Prompt(lanes.first, 9), Decoding(lanes.first)},
                       Budget(512, 64, 0))[0]),
            (Chunks{{1, 1}}));
  EXPECT_EQ(Pairs(Plan(std::vector{Prompt(lanes.first, 9)}, Budget(512, 64, 0))[0]),
            (Chunks{{0, 9}}));
}

TEST(PlanStep, GivesNoMorePlacesThanTheBudgetHasTokens) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {Decoding(lanes.first), Decoding(lanes.first),
                                                    Prompt(lanes.first, 5), Prompt(lanes.first, 5)};
  EXPECT_EQ(Pairs(Plan(sequences, Budget(2))[0]), (Chunks{{0, 1}, {1, 1}}));
  EXPECT_EQ(Pairs(Plan(sequences, Budget(3))[0]), (Chunks{{0, 1}, {1, 1}, {2, 1}}));
}

TEST(PlanStep, KeepsThePlacesOfThoseThatHaveStarted) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Decoding(lanes.first), Prompt(lanes.first, 3),
                                              Prompt(lanes.first, 3)};
  sequences[2].started = true;
  EXPECT_EQ(Pairs(Plan(sequences, Budget(512, 2))[0]), (Chunks{{0, 1}, {2, 3}}));
}

TEST(PlanStep, SharesTheBudgetBetweenModels) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {Prompt(lanes.second, 9), Prompt(lanes.first, 9),
                                                    Prompt(lanes.second, 9),
                                                    Prompt(lanes.first, 9)};
  const auto steps = Plan(sequences, Budget(21, 3));
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(steps[0].lane, &lanes.second);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{0, 9}, {2, 3}}));
  EXPECT_EQ(steps[1].lane, &lanes.first);
  EXPECT_EQ(Pairs(steps[1]), (Chunks{{1, 9}}));
}

TEST(PlanStep, AlwaysMovesOnWhateverTheLimitsAre) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {Prompt(lanes.first, 5)};
  EXPECT_EQ(Pairs(Plan(sequences, Budget(0, 0, 0))[0]), (Chunks{{0, 1}}));
  EXPECT_EQ(Pairs(Plan(sequences, Budget(-1, -1, -1))[0]), (Chunks{{0, 1}}));
}

TEST(PlanStep, PutsAHighPriorityBeforeItsCallersOwnOnly) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {
      Prompt(lanes.first, 10, "ann"), Prompt(lanes.first, 10, "bob"),
      Prompt(lanes.first, 10, "bob", Priority::kHigh)};
  EXPECT_EQ(Pairs(Plan(sequences, Budget(20, 64, 10))[0]), (Chunks{{0, 10}, {2, 10}}));
}

TEST(PlanStep, PutsALowPriorityBehindEveryCallerUntilItHasAged) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Prompt(lanes.first, 10, "ann", Priority::kLow, 999),
                                              Prompt(lanes.first, 10, "bob")};
  EXPECT_EQ(Pairs(Plan(sequences, Budget(10, 1))[0]), (Chunks{{1, 10}}));
  sequences[0].waited_ms = 1000;
  EXPECT_EQ(Pairs(Plan(sequences, Budget(10, 1))[0]), (Chunks{{0, 10}}));
}

TEST(PlanStep, LetsARequestPassAHigherOneOnceItHasWaitedTheAgeingTimeLonger) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Prompt(lanes.first, 10, "", Priority::kNormal, 999),
                                              Prompt(lanes.first, 10, "", Priority::kHigh)};
  EXPECT_EQ(Pairs(Plan(sequences, Budget(10, 1))[0]), (Chunks{{1, 10}}));
  sequences[0].waited_ms = 1000;
  EXPECT_EQ(Pairs(Plan(sequences, Budget(10, 1))[0]), (Chunks{{0, 10}}));
}

TEST(PlanStep, GivesAFreePlaceToTheCallerThatHoldsTheFewest) {
  Lanes lanes;
  const std::vector<ScheduledSequence> sequences = {
      Decoding(lanes.first, "ann"), Prompt(lanes.first, 4, "ann"), Prompt(lanes.first, 4, "ann"),
      Prompt(lanes.first, 4, "bob")};
  EXPECT_EQ(Pairs(Plan(sequences, Budget(512, 2))[0]), (Chunks{{0, 1}, {3, 4}}));
}

TEST(PlanStep, LetsOneRestThatKeepsItsPlace) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Decoding(lanes.first), Decoding(lanes.first),
                                              Prompt(lanes.first, 5), Prompt(lanes.first, 5)};
  sequences[0].resting = true;
  sequences[2].resting = true;
  EXPECT_EQ(Pairs(Plan(sequences, Budget(512, 2))[0]), (Chunks{{1, 1}}));
  EXPECT_EQ(Pairs(Plan(sequences, Budget(512, 3))[0]), (Chunks{{1, 1}, {3, 5}}));
}

TEST(PlanStep, RunsOneThatIsAloneInABatchOfItsOwn) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Decoding(lanes.first), Prompt(lanes.first, 30),
                                              Prompt(lanes.first, 30), Prompt(lanes.first, 30)};
  for (const size_t i : {1, 2}) {
    sequences[i].started = true;
    sequences[i].alone = true;
  }
  const auto steps = Plan(sequences, Budget(512, 64, 50));
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{0, 1}, {3, 20}}));
  EXPECT_EQ(Pairs(steps[1]), (Chunks{{1, 30}}));
  EXPECT_EQ(steps[1].lane, &lanes.first);
}

TEST(PlanStep, ForgetsCallersThatHaveNothing) {
  Lanes lanes;
  FairShare share;
  PlanStep(std::vector{Prompt(lanes.first, 100, "ann"), Prompt(lanes.first, 100, "bob")},
           Budget(10, 64, 64), share);
  EXPECT_EQ(share.deficit.size(), 1U);
  PlanStep(std::vector{Prompt(lanes.first, 5, "eve")}, Budget(10, 64, 64), share);
  EXPECT_TRUE(share.deficit.empty());
}

// What a whole queue goes through, step by step; the checks hold at each of them.
class Simulation {
 public:
  struct Request {
    std::string caller;
    Priority priority;
    int64_t arrives_ms, prompt, answer;
    int64_t started_ms = -1, ended_ms = -1;
    int64_t read = 0, made = 0;
  };

  Simulation(StepLimits limits, std::vector<Request> requests)
      : limits_(std::move(limits)), requests_(std::move(requests)) {}

  void Run() {
    for (now_ms_ = 0; !Done(); now_ms_ += 10) {
      ASSERT_LT(now_ms_, 10'000'000) << "somebody starves";
      Step();
      if (testing::Test::HasFatalFailure()) return;
    }
  }
  const std::vector<Request>& requests() const { return requests_; }
  int64_t ReadBy(const std::string& caller) const {
    int64_t tokens = 0;
    for (const Request& r : requests_) tokens += r.caller == caller ? r.read : 0;
    return tokens;
  }
  std::function<void()> after_step;

 private:
  bool Done() const {
    return std::all_of(requests_.begin(), requests_.end(),
                       [](const Request& r) { return r.ended_ms >= 0; });
  }

  void Step() {
    std::vector<size_t> open;
    std::vector<ScheduledSequence> sequences;
    for (size_t i = 0; i < requests_.size(); ++i) {
      const Request& r = requests_[i];
      if (r.arrives_ms > now_ms_ || r.ended_ms >= 0) continue;
      ScheduledSequence s = Prompt(lanes_[i % 2], r.made > 0 ? 1 : r.prompt - r.read, r.caller,
                                   r.priority, now_ms_ - r.arrives_ms);
      s.started = r.started_ms >= 0;
      s.decoding = r.made > 0;
      open.push_back(i);
      sequences.push_back(s);
    }
    const auto steps = PlanStep(sequences, limits_, share_);
    Check(sequences, steps);
    for (const LaneStep& step : steps) {
      for (const Chunk& chunk : step.chunks) Apply(requests_[open[chunk.sequence]], chunk.tokens);
    }
    if (after_step) after_step();
  }

  void Check(const std::vector<ScheduledSequence>& sequences, const std::vector<LaneStep>& steps) {
    std::set<size_t> seen;
    int64_t tokens = 0, prompt_tokens = 0, decoding = 0, took = 0;
    for (const LaneStep& step : steps) {
      ASSERT_FALSE(step.chunks.empty());
      for (const Chunk& chunk : step.chunks) {
        const ScheduledSequence& s = sequences[chunk.sequence];
        ASSERT_TRUE(seen.insert(chunk.sequence).second) << "two chunks of one sequence";
        ASSERT_EQ(s.lane, step.lane);
        ASSERT_GE(chunk.tokens, 1);
        ASSERT_LE(chunk.tokens, s.pending);
        tokens += chunk.tokens;
        (s.decoding ? took : prompt_tokens) += chunk.tokens;
      }
    }
    for (const ScheduledSequence& s : sequences) decoding += s.decoding ? 1 : 0;
    ASSERT_EQ(took, decoding) << "a decoding sequence waits";
    ASSERT_LE(tokens, limits_.step_tokens) << "over the budget";
    if (decoding > 0) {
      ASSERT_LE(prompt_tokens, limits_.prompt_chunk_tokens);
    }
    ASSERT_TRUE(sequences.empty() || tokens > 0) << "nothing moves";
    ASSERT_LE(share_.deficit.size(), sequences.size());
  }

  void Apply(Request& r, int64_t tokens) {
    if (r.started_ms < 0) r.started_ms = now_ms_;
    if (r.made == 0) r.read += tokens;
    if (r.read == r.prompt) ++r.made;
    if (r.made == r.answer) r.ended_ms = now_ms_;
  }

  const StepLimits limits_;
  std::vector<Request> requests_;
  LoadedModel lanes_[2];
  FairShare share_;
  int64_t now_ms_ = 0;
};

Simulation RandomSimulation(unsigned seed) {
  std::mt19937 random(seed);
  StepLimits limits = Budget(1 + random() % 64, 1 + random() % 16, 1 + random() % 32);
  std::vector<Simulation::Request> requests;
  int64_t arrives_ms = 0;
  for (int i = 0; i < 60; ++i) {
    arrives_ms += random() % 30;
    requests.push_back({"caller " + std::to_string(random() % 4),
                        static_cast<Priority>(random() % kPriorities), arrives_ms,
                        1 + static_cast<int64_t>(random() % 120),
                        1 + static_cast<int64_t>(random() % 20)});
  }
  return Simulation(limits, std::move(requests));
}

TEST(PlanStep, KeepsItsPromisesForRandomQueues) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Simulation simulation = RandomSimulation(seed);
    simulation.Run();
    if (HasFatalFailure()) return;
  }
}

TEST(PlanStep, StartsEqualRequestsOfACallerInOrderOfArrival) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    Simulation simulation = RandomSimulation(seed);
    simulation.Run();
    std::map<std::pair<std::string, Priority>, int64_t> last;
    for (const auto& r : simulation.requests()) {
      int64_t& before = last[{r.caller, r.priority}];
      EXPECT_GE(r.started_ms, before) << seed;
      before = std::max(before, r.started_ms);
    }
  }
}

// One place; high ones never stop coming. The low one must start once those have started that came
// before its own arrival plus two levels of ageing.
TEST(PlanStep, StartsALowPriorityWithinTheBoundOfAgeing) {
  for (const int callers : {1, 3}) {
    std::vector<Simulation::Request> requests;
    for (int i = 0; i < 1200; ++i) {
      requests.push_back({"caller " + std::to_string(i % callers), Priority::kHigh, i * 10, 8, 1});
    }
    requests.insert(requests.begin() + 100, {"caller 0", Priority::kLow, 1000, 8, 1});
    Simulation simulation(Budget(8, 1, 8), std::move(requests));
    simulation.Run();
    const auto& low = simulation.requests()[100];
    const int64_t step_ms = 10, ageing_ms = 1000;
    EXPECT_GE(low.started_ms, low.arrives_ms + ageing_ms);
    EXPECT_LE(low.started_ms, low.arrives_ms + 2 * ageing_ms + (callers + 1) * step_ms) << callers;
  }
}

// A caller with a thousand long prompts and one with a few: each gets half while both want.
TEST(PlanStep, DividesPromptTokensEquallyBetweenCallersThatWantThem) {
  std::vector<Simulation::Request> requests;
  for (int i = 0; i < 200; ++i) requests.push_back({"greedy", Priority::kHigh, 0, 400, 1});
  for (int i = 0; i < 20; ++i) requests.push_back({"modest", Priority::kNormal, 500, 100, 1});
  Simulation simulation(Budget(64, 32, 16), std::move(requests));
  int64_t greedy_before = -1;
  simulation.after_step = [&] {
    const int64_t modest = simulation.ReadBy("modest"), greedy = simulation.ReadBy("greedy");
    if (modest == 0) greedy_before = greedy;
    if (modest == 0 || modest == 2000) return;
    EXPECT_LE(std::abs(greedy - greedy_before - modest), 2 * 64) << modest;
  };
  simulation.Run();
}

ScheduledSequence Drafts(const LoadedModel& lane, int64_t drafted) {
  ScheduledSequence sequence = Decoding(lane);
  sequence.drafted = drafted;
  return sequence;
}

std::vector<int64_t> DraftsOf(std::span<const ScheduledSequence> sequences, StepLimits limits,
                              int64_t draft_rows) {
  limits.draft_rows = draft_rows;
  std::vector<int64_t> drafted(sequences.size(), -1);
  for (const LaneStep& step : Plan(sequences, limits)) {
    for (const Chunk& chunk : step.chunks) drafted[chunk.sequence] = chunk.drafted;
  }
  return drafted;
}

using Counts = std::vector<int64_t>;

TEST(PlanStep, GivesDraftsTheirTokensWhereThereIsRoom) {
  Lanes lanes;
  const std::vector sequences = {Drafts(lanes.first, 4), Decoding(lanes.first),
                                 Drafts(lanes.second, 3)};
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 32), (Counts{4, 0, 3}));
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 0), (Counts{0, 0, 0}));
}

TEST(PlanStep, DealsDraftsEvenlyWhatTheRowsOfAStepLeave) {
  Lanes lanes;
  const std::vector sequences = {Drafts(lanes.first, 8), Drafts(lanes.first, 1),
                                 Drafts(lanes.first, 8)};
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 13), (Counts{4, 1, 5}));
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 5), (Counts{1, 1, 0}));
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 3), (Counts{0, 0, 0}));
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 2), (Counts{0, 0, 0}));
}

TEST(PlanStep, DraftsTakeTheBudgetThatPromptsLeave) {
  Lanes lanes;
  const std::vector sequences = {Prompt(lanes.first, 300), Drafts(lanes.first, 8)};
  EXPECT_EQ(DraftsOf(sequences, Budget(105, 64, 100), 32), (Counts{0, 4}));
  EXPECT_EQ(DraftsOf(sequences, Budget(100, 64, 100), 32), (Counts{0, 0}));
}

TEST(PlanStep, WhoRestsReadsOrRunsAloneDraftsNothing) {
  Lanes lanes;
  std::vector sequences = {Drafts(lanes.first, 8), Drafts(lanes.first, 8), Prompt(lanes.first, 9)};
  sequences[0].resting = true;
  sequences[1].alone = true;
  sequences[2].drafted = 8;
  EXPECT_EQ(DraftsOf(sequences, Budget(512), 32), (Counts{-1, 0, 0}));
}

TEST(PlanStep, GivesAPlaceOnlyWhereThereIsMemoryForAllOfIt) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {Decoding(lanes.first), Prompt(lanes.first, 4),
                                              Prompt(lanes.first, 4), Prompt(lanes.first, 4),
                                              Prompt(lanes.second, 4)};
  for (ScheduledSequence& sequence : sequences) sequence.memory = 40;
  StepLimits limits = Budget(512);
  limits.memory.SetLimit(&lanes.first, 100);
  limits.memory.Hold(&lanes.first, 40);
  limits.memory.SetLimit(&lanes.second, 40);
  const auto steps = Plan(sequences, limits);
  ASSERT_EQ(steps.size(), 2U);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{0, 1}, {1, 4}}));
  EXPECT_EQ(Pairs(steps[1]), (Chunks{{4, 4}}));
}

TEST(PlanStep, LetsNobodyOfItsLanePassWhoIsNextAndHasNoRoom) {
  Lanes lanes;
  std::vector<ScheduledSequence> sequences = {
      Prompt(lanes.first, 4, "a", Priority::kNormal, 50), Prompt(lanes.first, 4, "a"),
      Prompt(lanes.first, 4, "b"), Prompt(lanes.second, 4, "b")};
  sequences[0].memory = 80;
  sequences[1].memory = sequences[2].memory = sequences[3].memory = 1;
  StepLimits limits = Budget(512);
  limits.memory.SetLimit(&lanes.first, 100);
  limits.memory.Hold(&lanes.first, 30);
  const auto steps = Plan(sequences, limits);
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(Pairs(steps[0]), (Chunks{{3, 4}}));
}

}  // namespace
}  // namespace lfm2
