#include "server/engine/grammar/grammar_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "base/errors.h"
#include "model/tokenizer/bytes.h"
#include "tests/server/fakes/gate.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

// A regex "slow..." compiles until the gate opens, "large..." is given up at once. Shared with the
// pool's threads, which end when they may.
struct FakeCompiler {
  GrammarCache::Result Compile(const GrammarSource& source) {
    ++compiles;
    if (source.text.starts_with("slow")) gate.Pass();
    if (source.text.starts_with("large")) return Error(Reason::kGrammarTooSlow, "too large");
    return grammar;
  }

  const std::shared_ptr<const Tokenizer> tokenizer = MakeByteTokenizer();
  const GrammarCache::Result grammar =
      GrammarCompiler::Make(*tokenizer, tokenizer->vocab_size(), {})
          .value()
          ->Compile({GrammarKind::kRegex, "a"});
  Gate gate;
  std::atomic<int> compiles = 0;
};

class GrammarCacheTest : public testing::Test {
 protected:
  ~GrammarCacheTest() override { fake_->gate.Open(); }

  GrammarCache CacheWith(const GrammarCache::Options& options) {
    return GrammarCache(
        options,
        [fake = fake_](const GrammarVocabulary&, const GrammarSource& source, const Limits&) {
          return fake->Compile(source);
        },
        pool_);
  }
  std::future<absl::Status> Ask(GrammarCache& cache, const std::string& text,
                                std::string_view caller = "") {
    auto answer = std::make_shared<std::promise<absl::Status>>();
    cache.Get({}, {GrammarKind::kRegex, text}, limits_, caller,
              [answer](const GrammarCache::Result& result) { answer->set_value(result.status()); });
    return answer->get_future();
  }
  static Reason ReasonOf(std::future<absl::Status> answer) {
    const absl::Status status = answer.get();
    return status.ok() ? Reason::kInternal : DetailsOf(status).reason;
  }
  static void ExpectBusy(std::future<absl::Status> answer) {
    const absl::Status status = answer.get();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(DetailsOf(status).reason, Reason::kQueueFull) << status;
    EXPECT_GT(DetailsOf(status).retry_after_ms, 0) << status;
  }

  const std::shared_ptr<FakeCompiler> fake_ = std::make_shared<FakeCompiler>();
  Limits limits_;
  GrammarPool pool_{{.threads = 2, .one_per_caller = true}};
};

TEST_F(GrammarCacheTest, BesideTwoThatAreSlowAnInnocentGrammarIsNeverCalledSlow) {
  GrammarCache cache = CacheWith({.wait = milliseconds(1)});
  ExpectBusy(Ask(cache, "slow 1"));
  ExpectBusy(Ask(cache, "slow 2"));
  fake_->gate.WaitForArrivals(2);
  ExpectBusy(Ask(cache, "plain"));
  EXPECT_EQ(fake_->compiles, 2);
  fake_->gate.Open();
  // It was in the queue, and is there in the end.
  absl::Status status = absl::UnknownError("");
  while (!status.ok()) {
    status = Ask(cache, "plain").get();
    EXPECT_TRUE(status.ok() || DetailsOf(status).reason == Reason::kQueueFull) << status;
  }
}

TEST_F(GrammarCacheTest, AnInnocentGrammarWaitsForItsTurn) {
  GrammarCache cache = CacheWith({.wait = std::chrono::minutes(1)});
  const auto first = Ask(cache, "slow 1"), second = Ask(cache, "slow 2");
  fake_->gate.WaitForArrivals(2);
  auto plain = Ask(cache, "plain");
  fake_->gate.Open();
  EXPECT_TRUE(plain.get().ok());
}

TEST_F(GrammarCacheTest, ThoseThatWereGivenUpCountUntilTheyAreDone) {
  limits_.grammar_compiles = 2;
  GrammarCache cache = CacheWith({.wait = milliseconds(1)});
  ExpectBusy(Ask(cache, "slow 1"));
  ExpectBusy(Ask(cache, "slow 2"));
  fake_->gate.WaitForArrivals(2);
  for (int i = 0; i < 20; ++i) ExpectBusy(Ask(cache, "plain " + std::to_string(i)));
  EXPECT_EQ(fake_->compiles, 2);
}

TEST_F(GrammarCacheTest, OneCallersGrammarsLeaveRoomForAnother) {
  GrammarCache cache = CacheWith({.wait = std::chrono::minutes(1), .compiles_per_caller = 2});
  const auto first = Ask(cache, "slow 1", "a"), second = Ask(cache, "slow 2", "a");
  ExpectBusy(Ask(cache, "plain", "a"));
  EXPECT_TRUE(Ask(cache, "plain", "b").get().ok());
  EXPECT_TRUE(Ask(cache, "plain", "a").get().ok());  // there is nothing to compile any more
}

TEST_F(GrammarCacheTest, WhoAsksForTheSameWaitsForTheSameCompile) {
  GrammarCache cache = CacheWith({.wait = std::chrono::minutes(1)});
  auto first = Ask(cache, "slow"), second = Ask(cache, "slow");
  fake_->gate.WaitForArrivals(1);
  fake_->gate.Open();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(Ask(cache, "slow").get().ok());
  EXPECT_EQ(fake_->compiles, 1);
}

TEST_F(GrammarCacheTest, ARefusalIsRememberedForAWhile) {
  GrammarCache patient = CacheWith({.refusal = std::chrono::hours(1)});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ReasonOf(Ask(patient, "large")), Reason::kGrammarTooSlow);
  EXPECT_EQ(fake_->compiles, 1);
  GrammarCache forgetful = CacheWith({.refusal = milliseconds(0)});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ReasonOf(Ask(forgetful, "large")), Reason::kGrammarTooSlow);
  EXPECT_EQ(fake_->compiles, 4);
}

}  // namespace
}  // namespace lfm2
