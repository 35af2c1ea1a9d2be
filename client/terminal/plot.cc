#include "client/terminal/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_format.h"

namespace lfm2 {
namespace {

// A grid of dots; each character shows `dots_x` by `dots_y` of them.
class Canvas {
 public:
  explicit Canvas(const PlotOptions& options)
      : braille_(options.braille),
        dots_x_(options.braille ? 2 : 1),
        dots_y_(options.braille ? 4 : 1),
        width_(std::max(options.width, 2) * dots_x_),
        height_(std::max(options.height, 2) * dots_y_),
        dots_(static_cast<size_t>(width_) * static_cast<size_t>(height_), false) {}

  int width() const { return width_; }
  int height() const { return height_; }
  int lines() const { return height_ / dots_y_; }

  // Bresenham's line algorithm, including both ends.
  void Line(int x0, int y0, int x1, int y1) {
    const int dx = std::abs(x1 - x0), dy = -std::abs(y1 - y0);
    const int step_x = x0 < x1 ? 1 : -1, step_y = y0 < y1 ? 1 : -1;
    int error = dx + dy;
    while (true) {
      Set(x0, y0);
      if (x0 == x1 && y0 == y1) return;
      const int twice = 2 * error;
      if (twice >= dy) {
        error += dy;
        x0 += step_x;
      }
      if (twice <= dx) {
        error += dx;
        y0 += step_y;
      }
    }
  }

  std::string RenderLine(int line) const {
    std::string text;
    for (int column = 0; column < width_ / dots_x_; ++column) text += Cell(column, line);
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
  }

 private:
  void Set(int x, int y) {
    dots_[static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)] = true;
  }
  bool Get(int x, int y) const {
    return dots_[static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)];
  }

  std::string Cell(int column, int line) const {
    if (!braille_) return Get(column, line) ? "*" : " ";
    // Bits of the braille block: dots 1 2 3 7 down the left side, 4 5 6 8 down the right (Unicode
    // chapter 21).
    static constexpr unsigned kBits[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};
    unsigned bits = 0;
    for (int x = 0; x < 2; ++x) {
      for (int y = 0; y < 4; ++y) {
        if (Get(column * 2 + x, line * 4 + y)) bits |= kBits[x][y];
      }
    }
    if (bits == 0) return " ";
    const unsigned code = 0x2800 + bits;
    return {static_cast<char>(0xE0 | (code >> 12)), static_cast<char>(0x80 | ((code >> 6) & 0x3F)),
            static_cast<char>(0x80 | (code & 0x3F))};
  }

  const bool braille_;
  const int dots_x_, dots_y_, width_, height_;
  std::vector<bool> dots_;
};

std::vector<PlotPoint> FinitePoints(const std::vector<PlotPoint>& points) {
  std::vector<PlotPoint> kept;
  std::copy_if(points.begin(), points.end(), std::back_inserter(kept),
               [](const PlotPoint& p) { return std::isfinite(p.x) && std::isfinite(p.y); });
  std::stable_sort(kept.begin(), kept.end(),
                   [](const PlotPoint& a, const PlotPoint& b) { return a.x < b.x; });
  return kept;
}

int ToDot(double value, double low, double high, int dots) {
  if (!(high > low)) return (dots - 1) / 2;
  const double at = (value - low) / (high - low) * (dots - 1);
  return std::clamp(static_cast<int>(std::lround(at)), 0, dots - 1);
}

}  // namespace

std::string RenderPlot(const std::vector<PlotPoint>& points, const PlotOptions& options) {
  const std::vector<PlotPoint> kept = FinitePoints(points);
  if (kept.empty()) return "";
  const auto [low, high] = std::minmax_element(
      kept.begin(), kept.end(), [](const PlotPoint& a, const PlotPoint& b) { return a.y < b.y; });
  const double lowest = low->y, highest = high->y;  // a lambda cannot take a structured binding
  Canvas canvas(options);
  const auto x_of = [&](const PlotPoint& p) {
    return ToDot(p.x, kept.front().x, kept.back().x, canvas.width());
  };
  const auto y_of = [&](const PlotPoint& p) {
    return canvas.height() - 1 - ToDot(p.y, lowest, highest, canvas.height());
  };
  for (size_t i = 0; i < kept.size(); ++i) {
    const PlotPoint& from = kept[i == 0 ? 0 : i - 1];
    canvas.Line(x_of(from), y_of(from), x_of(kept[i]), y_of(kept[i]));
  }
  std::string text = options.title.empty() ? "" : options.title + "\n";
  for (int line = 0; line < canvas.lines(); ++line) {
    const bool top = line == 0, bottom = line == canvas.lines() - 1;
    const std::string label = top      ? absl::StrFormat("%10.4g", highest)
                              : bottom ? absl::StrFormat("%10.4g", lowest)
                                       : std::string(10, ' ');
    text += label + (options.braille ? " ┤" : " |") + canvas.RenderLine(line) + "\n";
  }
  const std::string first = absl::StrFormat("%g", kept.front().x);
  const std::string last = absl::StrFormat("%g", kept.back().x);
  const int gap =
      std::max(1, std::max(options.width, 2) - static_cast<int>(first.size() + last.size()));
  return text + std::string(12, ' ') + first + std::string(static_cast<size_t>(gap), ' ') + last +
         "\n";
}

}  // namespace lfm2
