#include "client/terminal/plot.h"

#include <gtest/gtest.h>

#include <cmath>

#include "client/terminal/console.h"

namespace lfm2 {
namespace {

TEST(Plot, DrawsADescentFromTopLeftToBottomRight) {
  PlotOptions options;
  options.width = 4;
  options.height = 4;
  options.braille = false;
  options.title = "loss";
  EXPECT_EQ(RenderPlot({{1, 4}, {2, 3}, {3, 2}, {4, 1}}, options),
            "loss\n"
            "         4 |*\n"
            "           | *\n"
            "           |  *\n"
            "         1 |   *\n"
            "            1  4\n");
}

TEST(Plot, BrailleHasEightDotsACharacter) {
  PlotOptions options;
  options.width = 2;
  options.height = 2;
  const std::string text = RenderPlot({{0, 0}, {3, 7}}, options);
  EXPECT_TRUE(IsValidUtf8(text));
  // The diagonal of 4 x 8 dots, rising: two dots of each column.
  EXPECT_NE(text.find("⡜"), std::string::npos) << text;
}

TEST(Plot, SomeHostileInputs) {
  EXPECT_EQ(RenderPlot({}, {}), "");
  EXPECT_EQ(RenderPlot({{1, NAN}, {2, INFINITY}}, {}), "");
  EXPECT_NE(RenderPlot({{1, 2}}, {}), "");
  EXPECT_NE(RenderPlot({{1, 2}, {2, 2}, {3, NAN}}, {}), "");
  EXPECT_NE(RenderPlot({{1, -1e308}, {2, 1e308}}, {}), "");
  PlotOptions tiny;
  tiny.width = -5;
  tiny.height = 0;
  EXPECT_NE(RenderPlot({{1, 2}, {2, 1}}, tiny), "");
}

TEST(Plot, PointsMayComeInAnyOrder) {
  EXPECT_EQ(RenderPlot({{2, 1}, {1, 2}}, {}), RenderPlot({{1, 2}, {2, 1}}, {}));
}

}  // namespace
}  // namespace lfm2
