#include "model/parity/report_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lfm2 {
namespace {

constexpr int64_t kTokens = 11, kWidth = 6, kVocab = 5;

std::vector<float> Rows(int64_t width, float seed) {
  std::vector<float> out;
  for (int64_t i = 0; i < kTokens * width; ++i) {
    out.push_back(std::sin(seed + static_cast<float>(i)) * 3.0F);
  }
  return out;
}

std::span<const float> Part(const std::vector<float>& rows, int64_t width, int64_t begin,
                            int64_t count) {
  return std::span(rows).subspan(static_cast<size_t>(begin * width),
                                 static_cast<size_t>(count * width));
}

ParityReport Build(int64_t chunk, const ReportKeep& keep, int64_t* bytes = nullptr) {
  const std::vector<float> a = Rows(kWidth, 1), b = Rows(kWidth, 2), logits = Rows(kVocab, 3);
  ReportBuilder builder(kTokens, keep);
  for (int64_t begin = 0; begin < kTokens; begin += chunk) {
    const int64_t rows = std::min(chunk, kTokens - begin);
    builder.Add("a", Part(a, kWidth, begin, rows), {rows, kWidth});
    builder.Add("b", Part(b, kWidth, begin, rows), {rows, 2, kWidth / 2});
    builder.AddLogits(Part(logits, kVocab, begin, rows), kVocab);
    if (bytes != nullptr) *bytes = builder.bytes();
    bytes = nullptr;
  }
  return builder.Finish();
}

TEST(ReportBuilder, GivesTheSameReportInChunksOfAnySize) {
  const ParityReport whole = Build(kTokens, {.values = true, .all_logits = true});
  ASSERT_EQ(whole.probes.size(), 3U);
  EXPECT_EQ(whole.probes[1].shape, (std::vector<int64_t>{kTokens, 2, 3}));
  EXPECT_EQ(whole.probes[0].values, Rows(kWidth, 1));
  EXPECT_EQ(whole.probes[2].name, "logits");
  EXPECT_EQ(whole.logits, Rows(kVocab, 3));
  EXPECT_EQ(whole.logits_shape, (std::vector<int64_t>{kTokens, kVocab}));
  for (int64_t chunk = 1; chunk < kTokens; ++chunk) {
    const ParityReport report = Build(chunk, {.values = true, .all_logits = true});
    EXPECT_EQ(report.logits, whole.logits) << chunk;
    ASSERT_EQ(report.probes.size(), whole.probes.size());
    for (size_t i = 0; i < whole.probes.size(); ++i) {
      const Probe &ours = report.probes[i], &theirs = whole.probes[i];
      EXPECT_EQ(ours.name, theirs.name);
      EXPECT_EQ(ours.shape, theirs.shape);
      EXPECT_EQ(ours.sum, theirs.sum) << chunk;
      EXPECT_EQ(ours.abs_mean, theirs.abs_mean) << chunk;
      EXPECT_EQ(ours.max, theirs.max) << chunk;
      EXPECT_EQ(ours.norm, theirs.norm) << chunk;
      EXPECT_EQ(ours.values, theirs.values) << chunk;
    }
  }
}

TEST(ReportBuilder, KeepsOnlyWhatIsAskedForAndKnowsItsSizeAfterTheFirstChunk) {
  const int64_t values = 2 * kTokens * kWidth * 4, row = kVocab * 4;
  for (const bool keep_values : {false, true}) {
    for (const bool all_logits : {false, true}) {
      int64_t bytes = 0;
      const ParityReport report =
          Build(2, {.values = keep_values, .all_logits = all_logits}, &bytes);
      EXPECT_EQ(bytes, (keep_values ? values : 0) + (all_logits ? kTokens : 1) * row);
      EXPECT_EQ(report.bytes(), bytes);
      EXPECT_EQ(report.first_logits(), all_logits ? 0 : kTokens - 1);
      EXPECT_TRUE(report.probes[2].values.empty());
    }
  }
  const std::vector<float> logits = Rows(kVocab, 3);
  EXPECT_EQ(Build(3, {}).logits, std::vector<float>(logits.end() - kVocab, logits.end()));
}

TEST(ReportBuilder, AValueThatIsNoNumberStays) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ReportBuilder builder(2, {});
  builder.AddLogits(std::vector<float>{nan, 1}, 2);
  builder.AddLogits(std::vector<float>{2, 3}, 2);
  const ParityReport report = builder.Finish();
  EXPECT_TRUE(std::isnan(report.probes[0].max));
  EXPECT_TRUE(std::isnan(report.probes[0].sum));
}

}  // namespace
}  // namespace lfm2
