// Requests that are in one engine together, what each gave, and whether two of those are equal bit
// for bit.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "server/engine/engine.h"
#include "tests/server/fakes/recording_sink.h"

namespace lfm2 {

struct Case {
  GenerateRequest request;
  int64_t cancel_at = INT64_MAX;  // so many events; 0: as soon as it is submitted
  int64_t refuse_from = INT64_MAX;
};

struct Outcome {
  std::vector<TokenEvent> events;
  GenerateEnd end;
};

inline std::vector<Outcome> RunAll(Engine& engine, const std::vector<Case>& cases) {
  std::vector<std::shared_ptr<RecordingSink>> sinks;
  for (const Case& one : cases) {
    auto sink = std::make_shared<RecordingSink>();
    sink->refuse_from = one.refuse_from;
    sink->on_token = [sink = sink.get(), at = one.cancel_at](const TokenEvent& event) {
      if (event.index + 1 >= at) sink->cancel = true;
    };
    sinks.push_back(sink);
    EXPECT_TRUE(engine.Submit(one.request, sink).ok());
    if (one.cancel_at == 0) sink->cancel = true;
  }
  std::vector<Outcome> outcomes;
  for (const auto& sink : sinks) {
    GenerateEnd end = sink->Wait();
    outcomes.push_back({sink->events(), std::move(end)});
    EXPECT_EQ(sink->calls_after_end(), 0);
  }
  return outcomes;
}

inline bool SameFloat(float a, float b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

inline void ExpectSame(const TokenEvent& a, const TokenEvent& b) {
  ASSERT_EQ(a.id, b.id) << a.index;
  EXPECT_EQ(a.index, b.index);
  EXPECT_EQ(a.text, b.text);
  ASSERT_EQ(a.logprob.has_value(), b.logprob.has_value());
  if (a.logprob) {
    EXPECT_TRUE(SameFloat(*a.logprob, *b.logprob)) << a.index;
  }
  ASSERT_EQ(a.top.size(), b.top.size());
  for (size_t i = 0; i < a.top.size(); ++i) {
    EXPECT_EQ(a.top[i].id, b.top[i].id);
    EXPECT_TRUE(SameFloat(a.top[i].logprob, b.top[i].logprob)) << a.index;
  }
}

inline void ExpectSame(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.events.size(), b.events.size());
  for (size_t i = 0; i < a.events.size(); ++i) {
    ExpectSame(a.events[i], b.events[i]);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(a.end.status.code(), b.end.status.code()) << a.end.status << b.end.status;
  EXPECT_EQ(a.end.finish_reason, b.end.finish_reason);
  EXPECT_EQ(a.end.text, b.end.text);
  EXPECT_EQ(a.end.stop, b.end.stop);
  EXPECT_EQ(a.end.completion_tokens, b.end.completion_tokens);
  EXPECT_EQ(a.end.prompt_tokens, b.end.prompt_tokens);
}

}  // namespace lfm2
