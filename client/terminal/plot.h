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
  bool braille = true;  // 2 x 4 dots a character (U+2800 block); else ASCII
  std::string title;
};

// The points joined by lines, in the order of x, with the largest and smallest y beside and the
// first and last x below. Points that are not finite are left out; empty when none is left.
std::string RenderPlot(const std::vector<PlotPoint>& points, const PlotOptions& options);

}  // namespace lfm2
