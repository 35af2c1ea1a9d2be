#include "server/engine/grammar/constraint.h"

#include <gtest/gtest.h>

#include <future>

#include "base/errors.h"
#include "model/grammar/grammar_compiler.h"
#include "model/tokenizer/bytes.h"
#include "tests/server/fakes/gate.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Compiles at once; saying what may follow takes more and more.
constexpr char kSlowToMatch[] = "(?:(?:(?:a|ab|abc){1,1000}|(?:b|bc)*){1,1000}c)*d";

class ConstraintTest : public testing::Test {
 protected:
  std::shared_ptr<const Grammar> Compile(const std::string& regex) {
    return compiler_->Compile({GrammarKind::kRegex, regex}).value();
  }
  static bool Wait(Constraint& constraint) {
    return constraint.WaitUntil(std::chrono::steady_clock::now() + seconds(60));
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = MakeByteTokenizer();
  std::unique_ptr<GrammarCompiler> compiler_ =
      GrammarCompiler::Make(*tokenizer_, tokenizer_->vocab_size(), {}).value();
};

TEST_F(ConstraintTest, SaysWhatMayComeNextUntilTheTextIsComplete) {
  Constraint constraint(Compile("ab"), seconds(60));
  for (const char next : {'a', 'b'}) {
    ASSERT_TRUE(Wait(constraint));
    ASSERT_TRUE(constraint.Check().ok()) << constraint.Check();
    EXPECT_FALSE(constraint.finished());
    const TokenMask mask(constraint.allowed().begin(), constraint.allowed().end());
    for (int32_t id = 0; id < 256; ++id) EXPECT_EQ(IsAllowed(mask, id), id == next);
    constraint.Push(next);
  }
  ASSERT_TRUE(Wait(constraint));
  EXPECT_TRUE(constraint.finished());
}

TEST_F(ConstraintTest, WaitsBesideTwoThatAreStuckAndIsNotCalledSlow) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 2});
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(pool.Run([gate] { gate->Pass(); }));
  gate->WaitForArrivals(2);
  const Constraint busy(Compile("a"), milliseconds(0), pool);
  EXPECT_EQ(DetailsOf(busy.Check()).reason, Reason::kQueueFull) << busy.Check();
  EXPECT_GT(DetailsOf(busy.Check()).retry_after_ms, 0);
  Constraint waits(Compile("a"), seconds(60), pool);
  EXPECT_TRUE(waits.Check().ok());
  gate->Open();
  ASSERT_TRUE(Wait(waits));
  EXPECT_TRUE(waits.Check().ok()) << waits.Check();
}

TEST_F(ConstraintTest, WithoutAThreadItIsAskedToComeBack) {
  GrammarPool pool({.threads = 2, .queue = 0});
  const Constraint refused(Compile("a"), seconds(60), pool);
  EXPECT_EQ(DetailsOf(refused.Check()).reason, Reason::kQueueFull) << refused.Check();
  EXPECT_GT(DetailsOf(refused.Check()).retry_after_ms, 0);
}

// Its thread comes back: the next work of a pool with one thread runs.
TEST_F(ConstraintTest, AStepThatIsTooSlowIsEnded) {
  GrammarPool pool({.threads = 1});
  Constraint slow(Compile(kSlowToMatch), milliseconds(50), pool);
  absl::Status status;
  for (int i = 0; i < 2000 && status.ok(); ++i) {
    slow.WaitUntil(std::chrono::steady_clock::now() + seconds(60));
    status = slow.Check();
    if (status.ok()) slow.Push("abc"[i % 3]);
  }
  EXPECT_EQ(DetailsOf(status).reason, Reason::kGrammarTooSlow) << status;
  std::promise<void> next;
  ASSERT_TRUE(pool.Run([&next] { next.set_value(); }));
  next.get_future().get();
}

}  // namespace
}  // namespace lfm2
