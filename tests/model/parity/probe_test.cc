#include "model/parity/probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace lfm2 {
namespace {

Probe MakeProbe(const std::string& name, std::vector<float> values) {
  Probe probe;
  probe.name = name;
  probe.shape = {static_cast<int64_t>(values.size())};
  for (const float value : values) {
    probe.sum += value;
    probe.abs_mean += std::abs(value) / static_cast<double>(values.size());
    probe.max = std::max(probe.max, double{std::abs(value)});
    probe.norm += double{value} * value;
  }
  probe.norm = std::sqrt(probe.norm);
  probe.values = std::move(values);
  return probe;
}

ParityReport Report(std::vector<Probe> probes) {
  ParityReport report;
  report.probes = std::move(probes);
  return report;
}

TEST(CompareReports, FindsNoDifferenceBetweenEqualReports) {
  const ParityReport report = Report({MakeProbe("a", {1, 2}), MakeProbe("b", {3})});
  const ParityComparison comparison = CompareReports(report, report, 1e-6);
  EXPECT_FALSE(comparison.first_difference.has_value());
  EXPECT_EQ(comparison.probes.size(), 2u);
  EXPECT_EQ(comparison.max_logit_difference, 0);
}

TEST(CompareReports, NamesTheFirstProbeThatDiffersInTheOrderOfThePass) {
  const ParityReport ours = Report({MakeProbe("a", {1}), MakeProbe("z", {1}), MakeProbe("b", {1})});
  const ParityReport theirs =
      Report({MakeProbe("b", {2}), MakeProbe("z", {2}), MakeProbe("a", {1})});
  EXPECT_EQ(CompareReports(ours, theirs, 0.1).first_difference, "z");
}

TEST(CompareReports, SeesAChangeThatCancelsInTheSumWhereBothHaveValues) {
  const ParityReport ours = Report({MakeProbe("a", {1, 2})}),
                     theirs = Report({MakeProbe("a", {2, 1})});
  const ParityComparison comparison = CompareReports(ours, theirs, 0.1);
  EXPECT_TRUE(comparison.probes[0].differs);
  EXPECT_EQ(comparison.probes[0].max_abs_difference, 1);
}

TEST(CompareReports, ComparesTheFiguresWhereOneHasNoValues) {
  ParityReport ours = Report({MakeProbe("a", {1, 2})}), theirs = Report({MakeProbe("a", {1, 5})});
  ours.probes[0].values.clear();
  EXPECT_TRUE(CompareReports(ours, theirs, 0.1).probes[0].differs);
  EXPECT_FALSE(CompareReports(ours, theirs, 10).probes[0].differs);
}

TEST(CompareReports, ToleranceGrowsWithTheProbesMagnitude) {
  const ParityReport ours = Report({MakeProbe("a", {1000})}),
                     theirs = Report({MakeProbe("a", {1000.5})});
  EXPECT_FALSE(CompareReports(ours, theirs, 1e-3).probes[0].differs);
  EXPECT_TRUE(CompareReports(ours, theirs, 1e-4).probes[0].differs);
}

TEST(CompareReports, NanAndInfinityDiffer) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  for (const float value : {nan, infinity}) {
    const ParityReport ours = Report({MakeProbe("a", {value})}),
                       theirs = Report({MakeProbe("a", {1})});
    EXPECT_EQ(CompareReports(ours, theirs, 1e-3).first_difference, "a");
    EXPECT_EQ(CompareReports(theirs, ours, 1e-3).first_difference, "a");
  }
}

TEST(CompareReports, SaysWhatIsMissingAndWhatHasAnotherShape) {
  const ParityReport ours = Report({MakeProbe("a", {1, 2}), MakeProbe("b", {1})});
  const ParityReport theirs = Report({MakeProbe("a", {1}), MakeProbe("c", {1})});
  const ParityComparison comparison = CompareReports(ours, theirs, 1);
  ASSERT_EQ(comparison.probes.size(), 3u);
  EXPECT_EQ(comparison.probes[0].note, "shape [2] against [1]");
  EXPECT_EQ(comparison.probes[1].note, "only here");
  EXPECT_EQ(comparison.probes[2].note, "only there");
  for (const ProbeDifference& difference : comparison.probes) EXPECT_TRUE(difference.differs);
}

TEST(CompareReports, ComparesAllLogits) {
  ParityReport ours, theirs;
  ours.logits_shape = theirs.logits_shape = {1, 2};
  ours.logits = {1, 2};
  theirs.logits = {1, 2.25};
  EXPECT_EQ(CompareReports(ours, theirs, 1).max_logit_difference, 0.25);
  theirs.logits_shape = {2, 1};
  EXPECT_TRUE(std::isinf(CompareReports(ours, theirs, 1).max_logit_difference));
}

}  // namespace
}  // namespace lfm2
