#include "model/train/metrics_log.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/json.h"
#include "tests/model/train/tiny_models.h"

namespace lfm2 {
namespace {

std::vector<std::string> Lines(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(MetricsLog, AppendsOneObjectALineAndEndsALineThatWasCutShort) {
  const testing::TemporaryDirectory root;
  const auto path = root.path() / "metrics.jsonl";
  StepMetrics step;
  step.step = 1;
  step.loss = 0.1;
  step.tokens = 7;
  {
    const auto log = MetricsLog::Open(path).value();
    ASSERT_TRUE(log->Append(step, 0.25).ok());
  }
  std::ofstream(path, std::ios::app) << "{\"type\": \"st";
  {
    const auto log = MetricsLog::Open(path).value();
    ASSERT_TRUE(log->AppendResume(1).ok());
    ASSERT_TRUE(log->Append(EvalMetrics{2, 0.5, 9}).ok());
  }
  const std::vector<std::string> lines = Lines(path);
  ASSERT_EQ(lines.size(), 4u);
  const Json first = ParseJson(lines[0]).value();
  EXPECT_EQ(first["type"], "step");
  EXPECT_EQ(first["loss"].get<double>(), 0.1);
  EXPECT_EQ(first["loss_ema"].get<double>(), 0.25);
  EXPECT_EQ(first["tokens"], 7);
  EXPECT_FALSE(ParseJson(lines[1]).ok());
  EXPECT_EQ(ParseJson(lines[2]).value()["type"], "resume");
  EXPECT_EQ(ParseJson(lines[3]).value()["loss"].get<double>(), 0.5);
}

}  // namespace
}  // namespace lfm2
