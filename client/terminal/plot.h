// A curve drawn with characters, for a terminal. Pure.
#pragma once

#include <string>
#include <vector>

namespace lfm2 {

struct PlotPoint {
  double x = 0;
  double y = 0;
};

struct PlotOptions {
  int width = 60;       // characters of the drawing itself, at least 2
  int height = 12;      // lines of the drawing itself, at least 2
  bool braille = true;  // 2 x 4 dots per character (U+2800 block); else ASCII
  std::string title;
};

// Joins the points by lines, in the order of x, with the largest and smallest y beside the plot and
// the first and last x below it. Leaves out points that are not finite; empty when no point is
// left.
std::string RenderPlot(const std::vector<PlotPoint>& points, const PlotOptions& options);

}  // namespace lfm2
