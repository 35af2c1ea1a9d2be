#include "server/engine/grammar/grammar_pool.h"

#include <gtest/gtest.h>

#include <future>

#include "tests/server/fakes/gate.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

std::future<void> RunsOn(GrammarPool& pool, std::string_view caller = "") {
  auto done = std::make_shared<std::promise<void>>();
  EXPECT_TRUE(pool.Run([done] { done->set_value(); }, caller));
  return done->get_future();
}

void Block(GrammarPool& pool, const std::shared_ptr<Gate>& gate, std::string_view caller = "") {
  EXPECT_TRUE(pool.Run([gate] { gate->Pass(); }, caller));
}

// Nobody calls Run again: the pool sees by itself that its threads are stuck.
TEST(GrammarPool, WorkBehindTwoThatAreStuckGetsAThreadOfItsOwn) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 2, .spare = 2, .stuck_after = milliseconds(1)});
  Block(pool, gate);
  Block(pool, gate);
  gate->WaitForArrivals(2);
  RunsOn(pool).get();
  gate->Open();
}

TEST(GrammarPool, BeyondItsSparesWorkWaitsForAThreadThatComesBack) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 1, .spare = 1, .stuck_after = milliseconds(1)});
  Block(pool, gate);
  Block(pool, gate);
  gate->WaitForArrivals(2);
  const std::future<void> third = RunsOn(pool);
  EXPECT_EQ(third.wait_for(milliseconds(50)), std::future_status::timeout);
  gate->LetOnePass();
  gate->LetOnePass();
  third.wait();
  // Those that were written off make room for others.
  RunsOn(pool).get();
}

TEST(GrammarPool, WithoutSparesNoMoreThanItsThreadsEverRun) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 2, .stuck_after = milliseconds(1)});
  for (int i = 0; i < 2; ++i) Block(pool, gate);
  gate->WaitForArrivals(2);
  const std::future<void> third = RunsOn(pool);
  EXPECT_EQ(third.wait_for(milliseconds(50)), std::future_status::timeout);
  gate->Open();
  third.wait();
}

TEST(GrammarPool, ANamedCallersSecondWorkLeavesTheOtherThreadToOthers) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 2, .one_per_caller = true});
  Block(pool, gate, "a");
  gate->WaitForArrivals(1);
  const std::future<void> second = RunsOn(pool, "a");
  RunsOn(pool, "b").get();
  RunsOn(pool).get();
  EXPECT_EQ(second.wait_for(milliseconds(0)), std::future_status::timeout);
  gate->Open();
  second.wait();
}

TEST(GrammarPool, RefusesBeyondItsQueue) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 1, .queue = 1});
  Block(pool, gate);
  gate->WaitForArrivals(1);
  const std::future<void> waits = RunsOn(pool);
  EXPECT_FALSE(pool.Run([] {}));
  gate->Open();
  waits.wait();
}

TEST(GrammarPool, RunsWhatIsDueInItsOrderAndBesideThreadsThatAreBusy) {
  const auto gate = std::make_shared<Gate>();
  GrammarPool pool({.threads = 1});
  Block(pool, gate);
  std::promise<int> first;
  std::promise<void> second;
  pool.After(milliseconds(20), [&] { second.set_value(); });
  pool.After(milliseconds(1), [&] { first.set_value(1); });
  EXPECT_EQ(first.get_future().get(), 1);
  second.get_future().get();
  gate->Open();
}

}  // namespace
}  // namespace lfm2
