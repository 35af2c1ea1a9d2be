#include "client/terminal/progress.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lfm2 {
namespace {

TEST(Progress, SizesCountsAndTimes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(3.0 * (1LL << 40)), "3.0 TiB");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(12'345), "12.3k");
  EXPECT_EQ(FormatDuration(42), "0:42");
  EXPECT_EQ(FormatDuration(3723), "1:02:03");
  EXPECT_EQ(FormatDuration(90'061), "1d 01:01");
  EXPECT_EQ(FormatDuration(NAN), "?");
  EXPECT_EQ(FormatDuration(-1), "?");
  EXPECT_EQ(FormatAge(1'000, 61'000), "1m ago");
  EXPECT_EQ(FormatAge(0, 61'000), "-");
}

TEST(Progress, TheBarStaysInsideItsWidth) {
  EXPECT_EQ(RenderBar(0.5, 4, false), "[==> ]");
  EXPECT_EQ(RenderBar(7, 4, false), "[====]");
  EXPECT_EQ(RenderBar(NAN, 4, false), "[>   ]");
}

TEST(Progress, ATrainingRunInOneLine) {
  TrainProgress progress;
  progress.step = 120;
  progress.steps = 200;
  progress.loss = 2.34121;
  progress.tokens_per_second = 12'345;
  progress.seconds_per_step = 0.5;
  EXPECT_EQ(FormatTrainProgress(progress, false),
            "[============>       ] 120/200  loss 2.3412  12.3k tok/s  ETA 0:40");
  progress.steps = 0;
  EXPECT_EQ(FormatTrainProgress(progress, false), "step 120  loss 2.3412  12.3k tok/s");
}

}  // namespace
}  // namespace lfm2
