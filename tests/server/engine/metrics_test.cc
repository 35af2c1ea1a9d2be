#include "server/engine/metrics.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>

#include "tests/server/fakes/series.h"

namespace lfm2 {
namespace {

using std::chrono::milliseconds;

TEST(Metrics, CountsWhatHappened) {
  Metrics metrics;
  metrics.CountRejected(Reason::kQueueFull);
  metrics.ObserveStart(milliseconds(30), {16, 4, PrefixMiss::kNone}, 20);
  metrics.ObserveStep(3, milliseconds(5));
  metrics.ObserveToken(milliseconds(50), true);
  metrics.ObserveToken(milliseconds(20), false);
  metrics.ObserveToken(milliseconds(20), false);
  GenerateEnd end;
  end.completion_tokens = 3;
  end.decode_ms = 40;
  metrics.ObserveEnd(end, milliseconds(120));
  end.status = Error(Reason::kCancelled, "x");
  metrics.ObserveEnd(end, milliseconds(7));
  MetricsGauges gauges;
  gauges.waiting_requests = 9;
  gauges.blocks.in_use = 12;
  gauges.serving = true;
  const std::string text = metrics.Text(gauges);
  EXPECT_EQ(ValueOf(text, "lfm2_requests_rejected_total{reason=\"QUEUE_FULL\"}"), "1");
  EXPECT_EQ(ValueOf(text, "lfm2_requests_failed_total{reason=\"CANCELLED\"}"), "1");
  EXPECT_EQ(ValueOf(text, "lfm2_requests_failed_total{reason=\"INTERNAL\"}"), "0");
  EXPECT_EQ(ValueOf(text, "lfm2_requests_completed_total"), "1");
  EXPECT_EQ(ValueOf(text, "lfm2_prefix_lookups_total{reason=\"none\"}"), "1");
  EXPECT_EQ(ValueOf(text, "lfm2_prefix_cached_tokens_total"), "16");
  // With the operation first, as every label of it.
  const auto generated = [&](const std::string& name, const std::string& more = "") {
    return ValueOf(text, name + "{gen_ai_operation_name=\"text_completion\"" + more + "}");
  };
  const std::string usage = "gen_ai_client_token_usage_total";
  EXPECT_EQ(generated(usage, ",gen_ai_token_type=\"input\""), "20");
  EXPECT_EQ(generated(usage, ",gen_ai_token_type=\"output\""), "3");
  const std::string first_token = "gen_ai_server_time_to_first_token_seconds";
  EXPECT_EQ(generated(first_token + "_count"), "1");
  EXPECT_EQ(generated(first_token + "_bucket", ",le=\"0.04\""), "0");
  EXPECT_EQ(generated(first_token + "_bucket", ",le=\"0.06\""), "1");
  EXPECT_EQ(generated("gen_ai_server_time_per_output_token_seconds_count"), "1");
  EXPECT_EQ(generated("gen_ai_server_request_duration_seconds_count"), "2");
  EXPECT_EQ(ValueOf(text, "lfm2_inter_token_seconds_count"), "2");
  EXPECT_EQ(ValueOf(text, "lfm2_batch_size_sum"), "3");
  EXPECT_EQ(ValueOf(text, "lfm2_requests_waiting"), "9");
  EXPECT_EQ(ValueOf(text, "lfm2_kv_blocks_in_use"), "12");
  EXPECT_EQ(ValueOf(text, "lfm2_serving"), "1");
}

TEST(Metrics, HasEverySeriesBeforeItsFirstEventAndNoMoreAfterwards) {
  Metrics metrics;
  const auto series = [&] {
    std::set<std::string> names;
    std::istringstream lines(metrics.Text({}));
    for (std::string line; std::getline(lines, line);) {
      if (line[0] != '#') names.insert(line.substr(0, line.rfind(' ')));
    }
    return names;
  };
  const auto before = series();
  for (const ReasonSpec& spec : AllReasons()) {
    metrics.CountRejected(spec.reason);
    GenerateEnd end;
    end.status = Error(spec.reason, "some prompt text");
    metrics.ObserveEnd(end, milliseconds(1));
    metrics.ObserveTaskEnd(Operation::kScore, end.status, 2, milliseconds(1));
    metrics.ObserveTaskEnd(Operation::kParity, end.status, 2, milliseconds(1));
  }
  for (int miss = 0; miss < kPrefixMisses; ++miss) {
    metrics.ObserveStart(milliseconds(1), {0, 0, static_cast<PrefixMiss>(miss)}, 1);
  }
  EXPECT_EQ(series(), before);
  EXPECT_LT(before.size(), 400U);
}

TEST(Metrics, IsValidTextFormat) {
  Metrics metrics;
  std::istringstream lines(metrics.Text({}));
  const std::regex sample(R"re([a-z_0-9]+(\{([a-z_]+="[^"]*",?)+\})? [0-9.e+-]+)re");
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# ", 0) == 0) continue;
    EXPECT_TRUE(std::regex_match(line, sample)) << line;
  }
}

TEST(Metrics, CountsWhatWasDraftedAndWhatOfItWasRight) {
  Metrics metrics;
  EXPECT_EQ(ValueOf(metrics.Text({}), "lfm2_speculative_drafted_tokens_total"), "0");
  metrics.CountDrafted(8, 3);
  metrics.CountDrafted(2, 2);
  const std::string text = metrics.Text({});
  EXPECT_EQ(ValueOf(text, "lfm2_speculative_drafted_tokens_total"), "10");
  EXPECT_EQ(ValueOf(text, "lfm2_speculative_accepted_tokens_total"), "5");
}

}  // namespace
}  // namespace lfm2
