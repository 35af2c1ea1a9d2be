// Drafted tokens that are taken back leave the state of a run that never saw them, bit for bit.
#include <algorithm>

#include "base/errors.h"
#include "model/cpu/prefix_cache.h"
#include "tests/model/cpu/random_model.h"

namespace lfm2 {
namespace {

constexpr int64_t kMostDrafted = 6;
constexpr int64_t kCheckpointTokens = 4;  // some lie among the drafted tokens

struct Model {
  const char* name;
  std::shared_ptr<const CpuWeights> (*load)();
};

template <int index>
std::shared_ptr<const CpuWeights> Golden() {
  return LoadCpuGolden(kCpuGoldenNames[index]).weights;
}

template <ModelConfig (*config)()>
std::shared_ptr<const CpuWeights> Random() {
  return RandomWeights(config(), {WeightFormat::kBF16, DetectIsa()});
}

const Model kModels[] = {{"lfm2_tiny", Golden<0>},
                         {"lfm2_tiny_untied", Golden<1>},
                         {"hybrid_sequential", Golden<2>},
                         {"hybrid_parallel", Golden<3>},
                         {"hybrid_no_attention", Golden<4>},
                         {"random_lfm2", Random<SmallLfm2>},
                         {"random_hybrid", Random<SmallHybrid>},
                         {"random_attention_only", Random<SmallAttentionOnly>}};

std::vector<int32_t> Ids(int64_t count, int32_t seed = 0) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < count; ++i) {
    out.push_back(static_cast<int32_t>((i * i * 31 + i * 7 + seed * 13) % 89));
  }
  return out;
}

std::vector<int32_t> Joined(std::vector<int32_t> first, std::span<const int32_t> second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

class RollbackOf : public testing::TestWithParam<Model> {
 protected:
  RollbackOf() : decoder_(GetParam().load(), TestPool()), blocks_(BlocksFor(shape())) {}

  const StateShape& shape() const { return decoder_.state_shape(); }
  CpuState NewState() { return CpuState(shape(), *blocks_, kCheckpointTokens); }
  std::vector<float> Run(CpuState& state, std::span<const int32_t> tokens,
                         LogitRows rows = LogitRows::kLast) {
    return RunTokens(decoder_, state, tokens, rows);
  }
  // Logits of the last token that is no guess and of all guesses.
  std::vector<float> RunDrafted(CpuState& state, std::span<const int32_t> tokens, int64_t drafted) {
    EXPECT_TRUE(state.Reserve(static_cast<int64_t>(tokens.size())).ok());
    const CpuSpan span{tokens, &state, LogitRows::kLast, drafted};
    const auto logits = decoder_.Forward({&span, 1});
    EXPECT_TRUE(logits.ok()) << logits.status();
    return {logits->begin(), logits->end()};
  }
  void ExpectSame(const CpuState& a, const CpuState& b) {
    EXPECT_EQ(a.position(), b.position());
    EXPECT_EQ(a.kv_tokens(), b.kv_tokens());
    EXPECT_EQ(a.blocks().size(), b.blocks().size());
    EXPECT_TRUE(SameBits(a.recurrent().conv, b.recurrent().conv));
    EXPECT_TRUE(SameBits(a.recurrent().ssm, b.recurrent().ssm));
    ASSERT_EQ(a.checkpoints().size(), b.checkpoints().size());
    for (size_t i = 0; i < a.checkpoints().size(); ++i) {
      EXPECT_EQ(a.checkpoints()[i].position, b.checkpoints()[i].position);
      EXPECT_TRUE(SameBits(a.checkpoints()[i].state->conv, b.checkpoints()[i].state->conv));
      EXPECT_TRUE(SameBits(a.checkpoints()[i].state->ssm, b.checkpoints()[i].state->ssm));
    }
  }

  CpuDecoder decoder_;
  std::unique_ptr<BlockPool> blocks_;
};

TEST_P(RollbackOf, EveryDraftAndEveryAcceptedCountLeaveTheStateOfAFreshRun) {
  const std::vector<int32_t> after = Ids(3, 7);
  for (const int64_t before : {1, 2, 29, 31, 32, 63}) {
    for (const int64_t certain : {1, 3}) {
      const std::vector<int32_t> known = Ids(before + certain);
      for (int64_t drafted = 1; drafted <= kMostDrafted; ++drafted) {
        const std::vector<int32_t> all = Joined(known, Ids(drafted, 3));
        CpuState whole = NewState();
        const std::vector<float> rows = Run(whole, all, LogitRows::kAll);
        const std::span<const float> wanted =
            std::span(rows).last(rows.size() / all.size() * static_cast<size_t>(drafted + 1));
        for (int64_t accepted = 0; accepted <= drafted; ++accepted) {
          SCOPED_TRACE(testing::Message()
                       << before << " + " << certain << " + " << accepted << " of " << drafted);
          CpuState state = NewState(), fresh = NewState();
          Run(state, std::span(all).first(static_cast<size_t>(before)));
          const auto last = std::span(all).subspan(static_cast<size_t>(before));
          EXPECT_TRUE(SameBits(RunDrafted(state, last, drafted), wanted));
          ASSERT_TRUE(state.RollBack(before + certain + accepted).ok());
          for (int64_t i = 0; i < before + certain + accepted; ++i) {
            Run(fresh, {&all[static_cast<size_t>(i)], 1});
          }
          ExpectSame(state, fresh);
          EXPECT_TRUE(
              SameBits(Run(state, after, LogitRows::kAll), Run(fresh, after, LogitRows::kAll)));
          ExpectSame(state, fresh);
        }
      }
    }
  }
}

TEST_P(RollbackOf, GoesBackInSeveralStepsAndNoFurtherThanTheGuesses) {
  const std::vector<int32_t> tokens = Ids(16);
  CpuState state = NewState(), fresh = NewState();
  EXPECT_FALSE(state.RollBack(-1).ok());
  RunDrafted(state, tokens, 5);
  EXPECT_FALSE(state.RollBack(17).ok());
  EXPECT_FALSE(state.RollBack(10).ok());
  for (const int64_t back : {16, 14, 13, 11}) ASSERT_TRUE(state.RollBack(back).ok()) << back;
  EXPECT_EQ(DetailsOf(state.RollBack(12)).reason, Reason::kInternal);
  Run(fresh, std::span(tokens).first(11));
  ExpectSame(state, fresh);
  Run(state, std::span(tokens).subspan(11));
  EXPECT_FALSE(state.RollBack(15).ok());  // nothing of the last forward was a guess
}

TEST_P(RollbackOf, RefusesASpanOfGuessesAlone) {
  const std::vector<int32_t> tokens = Ids(4);
  for (const int64_t drafted : {-1, 4, 5}) {
    CpuState state = NewState();
    ASSERT_TRUE(state.Reserve(4).ok());
    const CpuSpan span{tokens, &state, LogitRows::kLast, drafted};
    EXPECT_FALSE(decoder_.Forward({&span, 1}).ok()) << drafted;
  }
}

TEST_P(RollbackOf, SequencesOfABatchGoBackEachForItself) {
  const std::vector<int32_t> prompt = Ids(40, 1);
  std::vector<CpuState> states, fresh;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<CpuSpan> spans;
  for (int32_t i = 0; i < 4; ++i) {
    states.push_back(NewState());
    fresh.push_back(NewState());
    Run(states.back(), std::span(prompt).first(size_t{9} * static_cast<size_t>(i) + 3));
    tokens.push_back(Ids(6, i + 20));
  }
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(states[i].Reserve(6).ok());
    spans.push_back({tokens[i], &states[i], LogitRows::kLast, i == 2 ? 0 : 5});
  }
  ASSERT_TRUE(decoder_.Forward(spans).ok());
  for (size_t i = 0; i < 4; ++i) {
    const size_t kept = i == 2 ? 6 : 1 + i;
    ASSERT_TRUE(states[i].RollBack(static_cast<int64_t>(9 * i + 3 + kept)).ok());
    Run(fresh[i], std::span(prompt).first(9 * i + 3));
    Run(fresh[i], std::span(tokens[i]).first(kept));
    ExpectSame(states[i], fresh[i]);
  }
}

// A sequence begins in another's blocks, guesses wrong there, and leaves its own; both are found
// again by later ones.
TEST_P(RollbackOf, BlocksThatAreSharedStayWhatTheyWereAndWhatIsLeftIsRight) {
  PrefixCache cache(shape(), *blocks_, int64_t{1} << 30);
  const std::vector<int32_t> first = Ids(45);
  CpuState owner = NewState();
  Run(owner, first);
  cache.Insert("", first, owner);
  const std::vector<int32_t> prompt = Joined(first, Ids(2, 5));
  CpuState second = NewState();
  const PrefixReuse reuse = cache.Resume("", prompt, second);
  EXPECT_EQ(reuse.cached_tokens, 45);
  const std::vector<int32_t> guessed = Joined(prompt, Ids(30, 9));
  RunDrafted(second, std::span(guessed).subspan(static_cast<size_t>(reuse.resume_at())), 30);
  ASSERT_TRUE(second.RollBack(50).ok());
  const std::vector<int32_t> kept(guessed.begin(), guessed.begin() + 50);
  cache.Insert("", kept, second);
  for (const auto& base : {first, prompt, kept, guessed}) {
    const std::vector<int32_t> again = Joined(base, Ids(9, 11));
    CpuState cached = NewState(), fresh = NewState();
    const PrefixReuse found = cache.Resume("", again, cached);
    EXPECT_GT(found.cached_tokens, 40);
    EXPECT_LE(found.cached_tokens, 50);
    const auto left = std::span(again).subspan(static_cast<size_t>(found.resume_at()));
    EXPECT_TRUE(SameBits(Run(cached, left), Run(fresh, again)));
    EXPECT_TRUE(SameBits(cached.recurrent().conv, fresh.recurrent().conv));
    EXPECT_TRUE(SameBits(cached.recurrent().ssm, fresh.recurrent().ssm));
  }
}

TEST_P(RollbackOf, TheBlocksOfWrongGuessesGoBackToThePool) {
  if (shape().block_bytes() == 0) GTEST_SKIP() << "a model without keys and values";
  CpuState state = NewState();
  RunDrafted(state, Ids(80), 60);
  EXPECT_EQ(blocks_->in_use(), 3);
  ASSERT_TRUE(state.RollBack(32).ok());
  EXPECT_EQ(blocks_->in_use(), 1);
  ASSERT_TRUE(state.Reserve(33).ok());
  EXPECT_EQ(blocks_->in_use(), 3);
  state.ReleaseSpareBlocks();
  EXPECT_EQ(blocks_->in_use(), 1);
}

INSTANTIATE_TEST_SUITE_P(Models, RollbackOf, testing::ValuesIn(kModels),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace lfm2
