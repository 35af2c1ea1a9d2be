#include "model/cpu/prefix_cache.h"

#include <algorithm>

#include "tests/model/cpu/random_model.h"

namespace lfm2 {
namespace {

constexpr int64_t kCheckpointTokens = 32;
constexpr int64_t kPlenty = int64_t{1} << 30;

std::vector<int32_t> Ids(size_t count, int32_t seed = 0) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < count; ++i) {
    out.push_back(static_cast<int32_t>((i * i * 31 + i * 7 + static_cast<size_t>(seed) * 13) % 89));
  }
  return out;
}

// A model, its blocks and a cache; sequences go through it as a runner would send them.
class Served {
 public:
  explicit Served(const ModelConfig& config, int64_t cache_bytes = kPlenty,
                  int64_t pool_bytes = kPlenty)
      : decoder_(RandomWeights(config, {WeightFormat::kBF16, DetectIsa()}), TestPool()),
        blocks_(std::max<int64_t>(64, shape().block_bytes()), pool_bytes),
        cache_(shape(), blocks_, cache_bytes) {}

  const StateShape& shape() const { return decoder_.state_shape(); }
  PrefixCache& cache() { return cache_; }
  BlockPool& blocks() { return blocks_; }
  CpuDecoder& decoder() { return decoder_; }

  std::unique_ptr<CpuState> NewState() {
    return std::make_unique<CpuState>(shape(), blocks_, kCheckpointTokens);
  }

  struct Run {
    PrefixReuse reuse;
    std::vector<float> last_logits;
    std::unique_ptr<CpuState> state;
  };

  Run Cached(const std::vector<int32_t>& tokens, std::string_view tenant = "") {
    Run run;
    run.state = NewState();
    run.reuse = cache_.Resume(tenant, tokens, *run.state);
    EXPECT_EQ(run.state->position(), run.reuse.resume_at());
    EXPECT_EQ(run.state->kv_tokens(), run.reuse.cached_tokens);
    run.last_logits = RunTokens(
        decoder_, *run.state, std::span(tokens).subspan(static_cast<size_t>(run.reuse.resume_at())),
        LogitRows::kLast);
    return run;
  }

  Run Whole(const std::vector<int32_t>& tokens) {
    Run run;
    run.state = NewState();
    run.last_logits = RunTokens(decoder_, *run.state, tokens, LogitRows::kLast);
    return run;
  }

  void Serve(const std::vector<int32_t>& tokens, std::string_view tenant = "") {
    const Run run = Cached(tokens, tenant);
    cache_.Insert(tenant, tokens, *run.state);
  }

 private:
  CpuDecoder decoder_;
  BlockPool blocks_;
  PrefixCache cache_;
};

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void ExpectSame(const Served::Run& a, const Served::Run& b) {
  EXPECT_TRUE(SameBits(a.last_logits, b.last_logits));
  EXPECT_TRUE(SameBits(a.state->recurrent().conv, b.state->recurrent().conv));
  EXPECT_TRUE(SameBits(a.state->recurrent().ssm, b.state->recurrent().ssm));
}

// All stored keys and values of the first `tokens` tokens.
std::vector<std::byte> StoredBytes(const Served& served, const CpuState& state) {
  std::vector<std::byte> out;
  for (const KvBlock& block : state.blocks()) {
    out.insert(out.end(), block.data(), block.data() + served.shape().block_bytes());
  }
  return out;
}

class PrefixCacheOf : public testing::TestWithParam<ModelConfig (*)()> {};

TEST_P(PrefixCacheOf, EveryLengthOfACommonPrefixGivesTheSameLogitsAndStates) {
  Served served(GetParam()());
  const std::vector<int32_t> first = Ids(100);
  served.Serve(first);
  const int64_t window = served.shape().replay_window();
  for (size_t common = 0; common <= first.size(); ++common) {
    std::vector<int32_t> prompt(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(common));
    const std::vector<int32_t> other = Ids(5, 3);
    prompt.push_back((common < first.size() ? first[common] + 1 : 1) % 89);  // differs at once
    prompt.insert(prompt.end(), other.begin(), other.end());
    const Served::Run cached = served.Cached(prompt);
    SCOPED_TRACE("common " + std::to_string(common));
    ExpectSame(cached, served.Whole(prompt));
    if (served.shape().needs_checkpoints()) {
      const auto kept = common == first.size() ? static_cast<int64_t>(common)
                                               : static_cast<int64_t>(common) / 32 * 32;
      EXPECT_EQ(cached.reuse.resume_at(), kept);
    } else if (static_cast<int64_t>(common) > window) {
      EXPECT_EQ(cached.reuse.cached_tokens, static_cast<int64_t>(common));
      EXPECT_EQ(cached.reuse.replayed_tokens, window);
      EXPECT_EQ(cached.reuse.miss, PrefixMiss::kNone);
    } else {
      EXPECT_EQ(cached.reuse.cached_tokens, 0);
      EXPECT_EQ(cached.reuse.miss,
                common == 0 ? PrefixMiss::kNoCommonPrefix : PrefixMiss::kTooShort);
    }
  }
}

TEST_P(PrefixCacheOf, TheLastTokenOfAPromptAlwaysRuns) {
  Served served(GetParam()());
  const std::vector<int32_t> tokens = Ids(96);
  served.Serve(tokens);
  const Served::Run again = served.Cached(tokens);
  EXPECT_LT(again.reuse.resume_at(), 96);
  if (!served.shape().needs_checkpoints()) {
    EXPECT_EQ(again.reuse.cached_tokens, 95);
  }
  ExpectSame(again, served.Whole(tokens));
}

TEST_P(PrefixCacheOf, AReplayInSmallChunksAmongOthersIsExactToo) {
  Served served(GetParam()());
  const std::vector<int32_t> first = Ids(150), other = Ids(40, 9);
  served.Serve(first);
  std::vector<int32_t> prompt(first.begin(), first.begin() + 130);
  prompt.insert(prompt.end(), other.begin(), other.end());
  Served::Run run;
  run.state = served.NewState();
  run.reuse = served.cache().Resume("", prompt, *run.state);
  auto beside = served.NewState();
  size_t at = static_cast<size_t>(run.reuse.resume_at()), step = 1;
  while (at < prompt.size()) {
    const size_t size = std::min(step, prompt.size() - at);
    ASSERT_TRUE(run.state->Reserve(static_cast<int64_t>(size)).ok());
    ASSERT_TRUE(beside->Reserve(2).ok());
    const CpuSpan spans[] = {
        {std::span(other).first(2), beside.get(), LogitRows::kNone},
        {std::span(prompt).subspan(at, size), run.state.get(), LogitRows::kLast}};
    const auto logits = served.decoder().Forward(spans);
    ASSERT_TRUE(logits.ok());
    run.last_logits.assign(logits->begin(), logits->end());
    at += size;
    step = step % 4 + 1;
  }
  ExpectSame(run, served.Whole(prompt));
}

TEST_P(PrefixCacheOf, ASecondTurnRunsOnlyWhatIsNew) {
  Served served(GetParam()());
  std::vector<int32_t> conversation = Ids(77);
  served.Serve(conversation);
  const std::vector<int32_t> turn = Ids(20, 4);
  conversation.insert(conversation.end(), turn.begin(), turn.end());
  const Served::Run run = served.Cached(conversation);
  EXPECT_EQ(run.reuse.cached_tokens, 77);
  EXPECT_EQ(run.reuse.replayed_tokens, served.shape().replay_window());
  EXPECT_EQ(run.reuse.miss, PrefixMiss::kNone);
  ExpectSame(run, served.Whole(conversation));
}

TEST_P(PrefixCacheOf, RandomConversationsWithEvictionAreExactAndBounded) {
  const uint64_t seed = CpuTestSeed();
  SCOPED_TRACE("LFM2_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto uniform = [&](size_t low, size_t high) {
    return std::uniform_int_distribution<size_t>(low, high)(random);
  };
  Served probe(GetParam()());
  probe.Serve(Ids(64));
  const int64_t limit = probe.cache().bytes() * 6;
  Served served(GetParam()(), limit);
  std::vector<std::vector<int32_t>> known = {Ids(10)};
  int64_t reused = 0;
  for (int turn = 0; turn < 120; ++turn) {
    const std::vector<int32_t>& base = known[uniform(0, known.size() - 1)];
    std::vector<int32_t> tokens(
        base.begin(), base.begin() + static_cast<std::ptrdiff_t>(uniform(0, base.size())));
    for (size_t left = uniform(1, 60); left > 0; --left) {
      tokens.push_back(static_cast<int32_t>(uniform(0, 88)));
    }
    const std::string tenant = uniform(0, 4) == 0 ? "other" : "";
    const Served::Run run = served.Cached(tokens, tenant);
    reused += run.reuse.resume_at();
    ExpectSame(run, served.Whole(tokens));
    served.cache().Insert(tenant, tokens, *run.state);
    ASSERT_LE(served.cache().bytes(), limit);
    known.push_back(tokens);
  }
  EXPECT_GT(reused, 0);
  const int64_t held = served.cache().blocks();
  if (served.shape().block_bytes() > 0) {
    EXPECT_EQ(served.blocks().in_use(), held);
  }
  while (served.cache().EvictOne()) {
  }
  EXPECT_EQ(served.cache().bytes(), 0);
  EXPECT_EQ(served.blocks().in_use(), 0);
}

std::string NameOfModel(const testing::TestParamInfo<ModelConfig (*)()>& model) {
  return model.param == &SmallLfm2 ? "Lfm2" : model.param == &SmallHybrid ? "Hybrid" : "Attention";
}

INSTANTIATE_TEST_SUITE_P(Models, PrefixCacheOf,
                         testing::Values(&SmallLfm2, &SmallHybrid, &SmallAttentionOnly),
                         NameOfModel);

TEST(PrefixCache, AReplayWritesNoKeysAndValues) {
  Served served(SmallLfm2());
  const std::vector<int32_t> tokens = Ids(70);
  const Served::Run first = served.Whole(tokens);
  served.cache().Insert("", tokens, *first.state);
  const std::vector<std::byte> before = StoredBytes(served, *first.state);
  Served::Run again = served.Cached(tokens);
  EXPECT_GT(again.reuse.replayed_tokens, 0);
  EXPECT_EQ(StoredBytes(served, *first.state), before);
  // It wrote the last token into a copy of the last block only.
  EXPECT_EQ(again.state->blocks()[1].data(), first.state->blocks()[1].data());
  EXPECT_NE(again.state->blocks()[2].data(), first.state->blocks()[2].data());
}

TEST(PrefixCache, AShorterReplayWouldNotRebuildTheStates) {
  Served served(SmallLfm2());
  const std::vector<int32_t> tokens = Ids(70);
  const Served::Run whole = served.Whole(tokens);
  const int64_t window = served.shape().replay_window();
  EXPECT_EQ(window, 3 * 3);
  for (const int64_t replayed : {window, window - 1}) {
    Served::Run run;
    run.state = served.NewState();
    run.state->ResumeFrom(whole.state->blocks(), 70, 70 - replayed, nullptr);
    run.last_logits =
        RunTokens(served.decoder(), *run.state,
                  std::span(tokens).subspan(static_cast<size_t>(70 - replayed)), LogitRows::kLast);
    EXPECT_EQ(SameBits(run.state->recurrent().conv, whole.state->recurrent().conv),
              replayed == window);
  }
}

TEST(PrefixCache, SaysWhyNothingWasReused) {
  Served served(SmallLfm2());
  EXPECT_EQ(served.Cached(Ids(50)).reuse.miss, PrefixMiss::kEmpty);
  served.Serve(Ids(64));
  EXPECT_EQ(served.Cached(Ids(50, 1)).reuse.miss, PrefixMiss::kNoCommonPrefix);
  EXPECT_EQ(served.Cached(Ids(9)).reuse.miss, PrefixMiss::kTooShort);
  EXPECT_EQ(served.Cached(Ids(50), "another").reuse.miss, PrefixMiss::kEmpty);
  while (served.cache().EvictOne()) {
  }
  const Served::Run evicted = served.Cached(Ids(64));
  EXPECT_EQ(evicted.reuse.miss, PrefixMiss::kEvicted);
  EXPECT_EQ(evicted.reuse.cached_tokens, 0);
}

TEST(PrefixCache, TenantsShareNothing) {
  Served served(SmallAttentionOnly());
  served.Serve(Ids(64), "a");
  EXPECT_EQ(served.Cached(Ids(64), "b").reuse.cached_tokens, 0);
  EXPECT_EQ(served.Cached(Ids(64), "a").reuse.cached_tokens, 63);
}

TEST(PrefixCache, TheLeastRecentlyUsedGoesFirst) {
  Served one(SmallAttentionOnly());
  one.Serve(Ids(32));
  Served served(SmallAttentionOnly(), one.cache().bytes() * 2);
  served.Serve(Ids(32, 1));
  served.Serve(Ids(32, 2));
  EXPECT_GT(served.Cached(Ids(32, 1)).reuse.cached_tokens, 0);
  served.Serve(Ids(32, 3));
  EXPECT_GT(served.Cached(Ids(32, 1)).reuse.cached_tokens, 0);
  EXPECT_EQ(served.Cached(Ids(32, 2)).reuse.miss, PrefixMiss::kEvicted);
}

TEST(PrefixCache, GivesItsBlocksToARunningSequenceWhenThePoolIsFull) {
  const int64_t block = StateShape::Of(SmallAttentionOnly(), KvType::kBF16).block_bytes();
  Served served(SmallAttentionOnly(), kPlenty, block * 4);
  served.Serve(Ids(64, 1));
  served.Serve(Ids(64, 2));
  EXPECT_EQ(served.cache().blocks(), 4);
  auto state = served.NewState();
  EXPECT_TRUE(state->Reserve(96).ok());
  EXPECT_EQ(served.cache().blocks(), 1);
  const absl::Status full = served.NewState()->Reserve(64);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
}

TEST(PrefixCache, KeepsNothingOfAStateThatSawOtherTokens) {
  Served served(SmallLfm2());
  const Served::Run run = served.Whole(Ids(40));
  served.cache().Insert("", Ids(39), *run.state);
  EXPECT_EQ(served.cache().blocks(), 0);
}

TEST(PrefixCache, KeepsNothingWithoutMemory) {
  Served served(SmallLfm2(), 0);
  served.Serve(Ids(40));
  EXPECT_EQ(served.cache().blocks(), 0);
  EXPECT_EQ(served.blocks().in_use(), 0);
}

}  // namespace
}  // namespace lfm2
